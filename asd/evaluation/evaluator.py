"""From a folder of score files, and a truth list where the clips' names carry no labels, to results."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation.clip_scores import ClipScore, measure, read_scores
from asd.evaluation.ground_truth import MachineTruth, Truth, read_truth
from asd.evaluation.metrics import Rule, SectionMetrics
from asd.run_folder import scores_at
from asd.scoring.limits import Decision
from asd.utils.pairs import first_few

_OF_2022 = re.compile(r"section_0[345]_\d{4}\.wav")
"""Plain names of the evaluation clips of 2022; those of 2021 name the domain, later years have section 00 alone."""


@dataclass(frozen=True)
class Evaluation:
    """What a folder of score files is worth.

    Attributes:
        rows: The clips with their labels; a clip of a truth list goes by its plain name.
        results: Metrics by machine, or machine and section.
        warnings: What the user should know, a sentence each.
    """

    rows: list[ClipScore]
    results: dict[str, SectionMetrics]
    warnings: list[str]


def evaluate(
    folder: Path | str, truth: Path | str | None = None, rule: Rule = Rule.ACROSS_2022, decisions: bool = True
) -> Evaluation:
    """Measure the score files of a folder, or of its folder ``scores``.

    Args:
        folder: Where the score files lie, and decision files beside them.
        truth: Truth list for clips whose names do not say what they are; see `asd.evaluation.ground_truth.read_truth`.
        rule: The year's rule.
        decisions: Use the decision files, where there are any.

    Raises:
        UserError: Files that cannot be read, clips missing, doubled or unknown, or no clip with a known label.
    """
    folder, truth = scores_at(folder), None if truth is None else Path(truth)
    rows = read_scores(folder)
    warnings = _decision_warnings(rows) if decisions else []
    if not decisions:
        rows = [dataclasses.replace(row, decision=None) for row in rows]
    else:
        rows = _with_abstentions(rows, calibration.read(folder))
    if truth is not None:
        listed = read_truth(truth)
        rows = join_truth(rows, listed, truth)
        warnings += _truth_warnings(rows, listed, truth)
    warnings += _check_labelled(rows, folder, truth)
    return Evaluation(rows, measure(rows, rule), warnings)


def together(parts: Sequence[Evaluation], rule: Rule = Rule.ACROSS_2022) -> Evaluation:
    """Evaluations of different machines as one.

    Raises:
        UserError: A machine and section is in two of them.
    """
    if len(parts) == 1:
        return parts[0]
    seen: set[tuple[str, str]] = set()
    for part in parts:
        own = {(row.machine, row.section) for row in part.rows}
        if seen & own:
            machine, section = sorted(seen & own)[0]
            raise UserError(f"{machine}, section {section}, is in two of the folders; give each machine once")
        seen |= own
    rows = [row for part in parts for row in part.rows]
    return Evaluation(rows, measure(rows, rule), list(dict.fromkeys(one for part in parts for one in part.warnings)))


def join_truth(rows: Sequence[ClipScore], truth: Truth, source: Path) -> list[ClipScore]:
    """Label the clips of the machines that the truth list knows, by name; the order of lines means nothing.

    Raises:
        UserError: Clips of a listed machine that are not listed, or not scored, or scored twice.
    """
    joined: list[ClipScore] = []
    for machine, group in groupby(sorted(rows, key=lambda row: row.machine), key=lambda row: row.machine):
        clips = list(group)
        if machine in truth:
            clips = _join_machine(clips, truth[machine], f"{machine} against {source}")
        joined += clips
    return joined


def _join_machine(clips: Sequence[ClipScore], truth: MachineTruth, where: str) -> list[ClipScore]:
    plain = {clip.name: truth.plain(clip.name) for clip in clips}
    unknown = sorted(name for name, known in plain.items() if known is None)
    times = Counter(known for known in plain.values() if known is not None)
    doubled = sorted(name for name, count in times.items() if count > 1)
    missing = sorted(truth.labels.keys() - times.keys())
    faults = {"unknown": unknown, "doubled": doubled, "missing": missing}
    if any(faults.values()):
        found = "; ".join(f"{first_few(names)} {fault}" for fault, names in faults.items() if names)
        raise UserError(f"{where}: {found}; give one score for every listed clip")
    labelled = []
    for clip in clips:
        name = plain[clip.name] or clip.name
        label = truth.labels[name]
        labelled.append(
            dataclasses.replace(clip, name=name, condition=label.condition, domain=label.domain or clip.domain)
        )
    return labelled


def _with_abstentions(rows: Sequence[ClipScore], known: calibration.Calibrations | None) -> list[ClipScore]:
    """The clips with those marked that lie in the band of abstention of their machine."""
    if known is None:
        return list(rows)
    marked = []
    for row in rows:
        own = known.of(str(row.machine_section))
        abstain = own is not None and own.limits.decide(row.score) == Decision.UNCERTAIN
        marked.append(dataclasses.replace(row, abstain=abstain))
    return marked


def _decision_warnings(rows: Sequence[ClipScore]) -> list[str]:
    without = sorted({row.machine for row in rows if row.decision is None})
    if without and len(without) < len({row.machine for row in rows}):
        return [f"no decision file for {', '.join(without)}"]
    return []


def _truth_warnings(rows: Sequence[ClipScore], truth: Truth, source: Path) -> list[str]:
    warnings = []
    absent = sorted(truth.keys() - {row.machine for row in rows})
    if absent:
        warnings.append(
            f"no score file for {len(absent)} of the {len(truth)} machines in {source}: {', '.join(absent)}; "
            "the official score is that of the others"
        )
    if source.is_file() and any(_wrong_in_2022(machine, listed) for machine, listed in truth.items()):
        warnings.append(
            f"{source}: the published list of 2022 has wrong labels for 608 clips of ToyCar and ToyTrain; "
            "give the folder of that year's evaluator instead"
        )
    return warnings


def _wrong_in_2022(machine: str, listed: MachineTruth) -> bool:
    """Whether these are clips of the list of 2022 that is wrong, whatever the file is called."""
    return machine in ("ToyCar", "ToyTrain") and any(_OF_2022.fullmatch(name) for name in listed.labels)


def _check_labelled(rows: Sequence[ClipScore], folder: Path, truth: Path | None) -> list[str]:
    unlabelled: dict[str, list[str]] = {}
    for row in rows:
        if row.condition is None:
            unlabelled.setdefault(row.machine, []).append(row.name)
    if not unlabelled:
        return []
    machines = Counter(row.machine for row in rows)
    names = ", ".join(unlabelled)
    if truth is not None:
        raise UserError(
            f"{folder}: {names} not in {truth}, and the clips' names carry no labels; "
            "remove those files or give the list that holds these machines"
        )
    for machine, clips in unlabelled.items():
        if len(unlabelled) == len(machines) or len(clips) < machines[machine]:
            raise UserError(
                f"{folder}: {machine} has {first_few(clips)} whose names say neither normal nor anomaly; "
                "pass the challenge's list of labels with --truth"
            )
    return [f"the clips' names of {names} carry no labels: not measured; pass the list of labels with --truth"]
