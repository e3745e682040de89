"""Submission folders of the challenge: score and decision files, and ``meta.yaml`` with counted complexity.

The organisers' evaluator pairs the sorted lines of a score file with the sorted lines of its truth by position, not by
name: a clip too few or too many shifts every label behind it without a word. The validator refuses such files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asd.errors import UserError
from asd.evaluation import calibration, clip_scores
from asd.evaluation.clip_scores import DECISIONS, SCORES, ClipScore, read_scores
from asd.evaluation.ground_truth import read_truth
from asd.run_folder import scores_at
from asd.utils.files import replace_text, written
from asd.utils.pairs import decision, finite, first_few, read_pairs
from asd.utils.sheet import read_sheet
from asd.utils.yaml_file import read_yaml

_SCORE_FILE = re.compile(rf"(?P<kind>{SCORES}|{DECISIONS})_(?P<machine>[^_/]+)_section_(?P<section>\d\d)_test\.csv")
_LABEL = re.compile(r"[A-Za-z0-9-]+_[A-Za-z0-9-]+_task2_[1-4]")


@dataclass(frozen=True)
class Complexity:
    """What one clip costs.

    Attributes:
        parameters: All parameters that take part in scoring a clip, those of scorers included.
        macs: Multiply-accumulate operations for one clip, counted while it was embedded and scored.
    """

    parameters: int
    macs: int


def write(folder: Path, run: Path, label: str, facts: Mapping[str, Any], complexity: Complexity | None) -> Path:
    """Write the submission of one system, and check it.

    Args:
        folder: Gets a folder `label` with the files of the system.
        run: The run whose scores and decisions are submitted.
        label: Such as ``Surname_Institute_task2_1``.
        facts: What only people know: name, abbreviation, authors and descriptions; the rest is left to fill in.
        complexity: Counted; ``None``: said to be unknown.

    Returns:
        The system's folder.

    Raises:
        UserError: A label of another form, a run without decisions, or files that the validator refuses.
    """
    if not _LABEL.fullmatch(label):
        raise UserError(f"label {label!r}: give Surname_Institute_task2_N with N from 1 to 4")
    scores = scores_at(run)
    rows = read_scores(scores)
    without = sorted({row.machine for row in rows if row.decision is None})
    if without:
        raise UserError(f"{scores}: no decision file of {', '.join(without)}; the challenge asks for both")
    home = folder / label
    if home.exists() and any(home.iterdir()):
        raise UserError(f"{home} is there already; remove it or choose another label")
    with written(home) as place:
        clip_scores.write_scores(place, rows)
        meta = _meta(label, rows, run, facts, complexity)
        replace_text(place / "meta.yaml", yaml.safe_dump(meta, sort_keys=False))
    faults = check(home)
    if faults:
        raise UserError(f"{home}: {faults[0]}")
    return home


def _meta(
    label: str, rows: Sequence[ClipScore], run: Path, facts: Mapping[str, Any], complexity: Complexity | None
) -> dict[str, Any]:
    known = calibration.read(run)
    measured = clip_scores.to_json(clip_scores.measure(rows))["machines"]
    development = {
        machine: {name: _percent(value) for name, value in parts.items() if name != "decisions"}
        for machine, parts in measured.items()
    }
    system = {
        "description": facts.get("description", {}),
        "complexity": {
            "total_parameters": None if complexity is None else complexity.parameters,
            "MACS": None if complexity is None else complexity.macs,
        },
        "external_datasets": facts.get("external_datasets", []),
        "source_code": facts.get("source_code"),
        "clip_seconds": None if known is None else known.seconds,
    }
    submission = {
        "label": label,
        "name": facts.get("name"),
        "abbreviation": facts.get("abbreviation"),
        "authors": facts.get("authors", []),
    }
    return {"submission": submission, "system": system, "results": {"development_dataset": development or None}}


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def check(folder: Path, truth: Path | None = None, clips: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What the organisers' evaluator would misread or miss in a system's folder; empty: nothing.

    Args:
        folder: Of one system.
        truth: A truth list whose machines and clips must be there, each once.
        clips: Names of the test clips by machine, likewise, where there is no truth yet.
    """
    files: dict[tuple[str, str], dict[str, Path]] = {}
    faults = []
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else []:
        match = _SCORE_FILE.fullmatch(path.name)
        if match is None:
            faults.append(f"{path.name}: not {SCORES}_<machine>_section_00_test.csv, nor {DECISIONS}_...")
            continue
        files.setdefault((match["machine"], match["section"]), {})[match["kind"]] = path
    if not files:
        return [*faults, f"no {SCORES}_<machine>_section_00_test.csv in {folder}"]
    expected = {machine: set(names) for machine, names in (clips or {}).items()}
    if truth is not None:
        expected |= {machine: set(one.labels) for machine, one in read_truth(truth).items()}
    for machine in sorted(expected.keys() - {key[0] for key in files}):
        faults.append(f"no files of {machine}")
    for (machine, _), kinds in files.items():
        if len(kinds) < 2:
            missing = ({SCORES, DECISIONS} - kinds.keys()).pop()
            faults.append(
                f"{next(iter(kinds.values())).name}: no {missing} file of {machine}, whose result would be left out"
            )
        faults += _faults_of(kinds, expected.get(machine))
    meta = folder / "meta.yaml"
    faults += _faults_of_meta(meta) if meta.is_file() else [f"no {meta.name}"]
    return faults


def _faults_of(kinds: Mapping[str, Path], expected: set[str] | None) -> list[str]:
    faults = []
    names: dict[str, list[str]] = {}
    for kind, path in kinds.items():
        try:
            values = read_pairs(path, finite if kind == SCORES else decision)
        except UserError as error:
            faults.append(str(error))
            continue
        names[kind] = list(values)
        folders = [fields[0] for _, fields in read_sheet(path) if "/" in fields[0] or "\\" in fields[0]]
        if folders:
            faults.append(f"{path.name}: {first_few(folders)} with a folder in the name; give the file name alone")
        if kind == SCORES and len(set(values.values())) == 1 and len(values) > 1:
            faults.append(f"{path.name}: all {len(values)} scores are the same")
        if expected is not None:
            absent, beyond = sorted(expected - set(values)), sorted(set(values) - expected)
            if absent or beyond:
                found = "; ".join(
                    f"{first_few(one)} {what}" for one, what in ((absent, "missing"), (beyond, "unknown")) if one
                )
                faults.append(f"{path.name}: {found}: lines are paired by position, so every label behind would shift")
    if len(names) == 2 and set(names[SCORES]) != set(names[DECISIONS]):
        differing = sorted(set(names[SCORES]) ^ set(names[DECISIONS]))
        faults.append(f"{kinds[DECISIONS].name} and {kinds[SCORES].name} differ in {first_few(differing)}")
    return faults


def _faults_of_meta(path: Path) -> list[str]:
    try:
        content = read_yaml(path)
    except UserError as error:
        return [str(error)]
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("submission", "system")):
        return [f"{path.name}: submission and system must be there as mappings"]
    faults = []
    label = content["submission"].get("label")
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        faults.append(f"{path.name}: label {label!r} is not Surname_Institute_task2_N")
    elif label != path.parent.name:
        faults.append(f"{path.name}: label {label} is not the name of its folder, {path.parent.name}")
    for key in ("total_parameters", "MACS"):
        if not isinstance((content["system"].get("complexity") or {}).get(key), int):
            faults.append(f"{path.name}: system.complexity.{key} is no number; count it with --ckpt_path")
    for key in ("name", "abbreviation", "authors"):
        if not content["submission"].get(key):
            faults.append(f"{path.name}: submission.{key} is empty")
    return faults
