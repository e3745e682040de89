"""Scores of clips: the challenge's score and decision files, and what is measured from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asd.errors import UserError
from asd.evaluation import tables
from asd.evaluation.ground_truth import label_of
from asd.evaluation.metrics import Rule, SectionMetrics, official_score, section_metrics
from asd.evaluation.verdicts import verdicts_of, verdicts_table
from asd.machine import MachineSection, titles
from asd.scoring.limits import Decision
from asd.utils.pairs import check_names, decision, finite, first_few, read_pairs, write_pairs

if TYPE_CHECKING:
    from asd.data.clip import Clip
    from asd.evaluation.calibration import Calibrations

SCORES = "anomaly_score"
DECISIONS = "decision_result"
_FILE = re.compile(
    rf"(?P<kind>{SCORES}|{DECISIONS})_(?:DCASE\d{{4}}T2)?(?P<machine>.+?)_(?:section|id)_(?P<section>\d+)"
    r"(?:_(?P<domain>source|target))?(?:_test)?(?:_seed.+)?\.csv"
)


@dataclass(frozen=True)
class ClipScore:
    """The score of one test clip and what is known of the clip.

    Attributes:
        name: Base name of the audio file, with its suffix; unique within a machine and section.
        machine: Machine type.
        section: Two digits.
        score: Raw anomaly score, higher is more anomalous.
        decision: 1 for an alarm, 0 for none, ``None`` where none was made.
        domain: ``source`` or ``target``; ``None`` where unknown.
        condition: ``normal`` or ``anomaly``; ``None`` where unknown: scored, not measured.
        abstain: Whether the score lies in the band of abstention: its decision is written, but not measured.
    """

    name: str
    machine: str
    section: str
    score: float
    decision: int | None = None
    domain: str | None = None
    condition: str | None = None
    abstain: bool = False

    @property
    def machine_section(self) -> MachineSection:
        """The machine and section, whose clips are measured together."""
        return MachineSection(self.machine, self.section)

    def decided(self, decision: Decision) -> ClipScore:
        """The same with a decision."""
        return replace(self, decision=int(decision == Decision.ANOMALOUS), abstain=decision == Decision.UNCERTAIN)


Results = Mapping[str, SectionMetrics]


def clip_score(clip: Clip, score: float, decision: Decision | None = None) -> ClipScore:
    """The score of a clip of the data set, and what was decided by it."""
    plain = ClipScore(
        name=clip.title,
        machine=clip.machine,
        section=clip.section,
        score=float(score),
        domain=None if clip.domain is None else clip.domain.value,
        condition=None if clip.condition is None else clip.condition.value,
    )
    return plain if decision is None else plain.decided(decision)


def by_section(rows: Sequence[ClipScore]) -> dict[MachineSection, list[ClipScore]]:
    """The clips of each machine and section, sorted by name."""
    ordered = sorted(rows, key=lambda row: (row.machine_section, row.name))
    return {key: list(group) for key, group in groupby(ordered, key=lambda row: row.machine_section)}


def named_sections(rows: Sequence[ClipScore]) -> dict[str, list[ClipScore]]:
    """The same by the name that results go by: the machine, with the section where a machine has several."""
    sections = by_section(rows)
    return {title: sections[section] for section, title in titles(list(sections)).items()}


def measure(rows: Sequence[ClipScore], rule: Rule = Rule.ACROSS_2022) -> dict[str, SectionMetrics]:
    """Metrics by machine, or by ``<machine>_section_NN`` where a machine has several sections.

    Clips of unknown condition are left out, and so are machines without any other. A clip of unknown domain counts as
    a source clip.

    Raises:
        UserError: A score is not finite.
    """
    measured = {}
    for name, clips in named_sections(rows).items():
        known = [clip for clip in clips if clip.condition is not None]
        if not known:
            continue
        decided = all(clip.decision is not None for clip in known)
        try:
            measured[name] = section_metrics(
                np.array([clip.score for clip in known], dtype=np.float64),
                np.array([clip.condition == "anomaly" for clip in known]),
                np.array([clip.domain == "target" for clip in known]),
                np.array([clip.decision == 1 for clip in known]) if decided else None,
                rule,
                np.array([clip.abstain for clip in known]),
            )
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return measured


def to_json(results: Results) -> dict[str, Any]:
    """Official score and parts as fractions; ``None`` where not measurable."""
    machines = {}
    for name, one in results.items():
        machines[name] = {part: _known(value) for part, value in one.parts.items()}
        domains = {"source": one.source, "target": one.target}
        made = {domain: asdict(values) for domain, values in domains.items() if values is not None}
        if made:
            machines[name]["decisions"] = {
                domain: {key: _known(value) for key, value in values.items()} for domain, values in made.items()
            }
    return {"official_score": _known(official_score(results)), "machines": machines}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(results: Results, title: str = "", known: Calibrations | None = None, own: bool = False) -> str:
    """The verdicts where decisions are known, the parts of the official score by machine, and the official F1.

    Of one's `own` recordings without the challenge's words, and so without that F1.
    """
    shown = [
        verdicts_table(verdicts_of(results, known), known),
        tables.metrics_table(results, own),
        None if own else tables.decisions_table(results),
    ]
    return "\n\n".join([*([title] if title else []), *(one.text() for one in shown if one is not None)])


def write_scores(folder: Path, rows: Sequence[ClipScore]) -> list[Path]:
    """Write a score file per machine and section, and a decision file where every clip has a decision.

    Returns:
        The files written, each whole or not at all.

    Raises:
        UserError: Two clips of one name, or a score that is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for section, clips in by_section(rows).items():
        where = f"{section.machine}, section {section.section}"
        check_names([clip.name for clip in clips], where)
        bad = [clip.name for clip in clips if not math.isfinite(clip.score)]
        if bad:
            raise UserError(
                f"{where}: the scores of {first_few(bad)} are not finite; check the embeddings and the scorer"
            )
        ending = f"{section}_test.csv"
        written.append(write_pairs(folder / f"{SCORES}_{ending}", [(c.name, repr(float(c.score))) for c in clips]))
        if all(clip.decision is not None for clip in clips):
            written.append(write_pairs(folder / f"{DECISIONS}_{ending}", [(c.name, str(c.decision)) for c in clips]))
    return written


def read_scores(folder: Path) -> list[ClipScore]:
    """Read a folder of score files and the decision files beside them, joined by clip name.

    The challenge's names, those of 2020 and 2021 and those of its baseline are understood. Domain and condition are
    what the clip's name says.

    Raises:
        UserError: No score file, two for one machine and section, a line that is no ``name,value``, a value that is
            no finite number, a clip doubled, or a decision file with other clips than its score file.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give the folder that holds the {SCORES}_*.csv files")
    files: dict[tuple[str, str, str, str], Path] = {}
    for path in sorted(folder.glob("*.csv")):
        match = _FILE.fullmatch(path.name)
        if match:
            key = (match["kind"], match["machine"], match["section"], match["domain"] or "")
            if key in files:
                raise UserError(f"{files[key]} and {path.name} are of the same machine and section; keep one of them")
            files[key] = path
    scores = {key[1:]: path for key, path in files.items() if key[0] == SCORES}
    if not scores:
        raise UserError(f"{folder} holds no {SCORES}_<machine>_section_<NN>_test.csv; give the folder of score files")
    lost = [path for key, path in files.items() if key[0] == DECISIONS and key[1:] not in scores]
    if lost:
        raise UserError(f"{lost[0]} has no {SCORES} file beside it; add the file of scores or remove the decisions")
    rows: list[ClipScore] = []
    for (machine, section, domain), path in scores.items():
        rows += _read_section(path, files.get((DECISIONS, machine, section, domain)), machine, section, domain)
    for (machine, section), clips in by_section(rows).items():
        check_names([clip.name for clip in clips], f"{folder}: {machine}, section {section}")
    return rows


def _read_section(path: Path, decision_path: Path | None, machine: str, section: str, domain: str) -> list[ClipScore]:
    scores = read_pairs(path, finite)
    decisions: Mapping[str, int | None] = dict.fromkeys(scores)
    if decision_path is not None:
        decisions = read_pairs(decision_path, decision)
        differing = sorted(scores.keys() ^ decisions.keys())
        if differing:
            raise UserError(f"{decision_path} and {path.name} differ in {first_few(differing)}; write both alike")
    rows = []
    for name, score in scores.items():
        label = label_of(name)
        said = label.domain or domain or None
        rows.append(ClipScore(name, machine, section, score, decisions[name], said, label.condition))
    return rows
