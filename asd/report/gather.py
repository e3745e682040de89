"""What a run folder holds, and what it does not, for its report."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asd.data.layouts.own_names import trains_on_own
from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation.calibration import Calibrations
from asd.evaluation.clip_scores import ClipScore, read_scores
from asd.evaluation.metrics import Rule
from asd.run_folder import RunFolder
from asd.utils.yaml_file import read_yaml

Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it lies.
        rows: The scored test clips; none where it was never tested.
        config: The configuration; empty where none is kept.
        known: Thresholds and scores of the training clips.
        curves: Epoch and value of what was logged, by name.
        environment: What it was made with; empty where that is not kept.
        checkpoint: The last one; ``None`` where there is none.
        notes: What the report lacks, and why, a sentence each.
    """

    folder: Path
    rows: list[ClipScore]
    config: dict[str, Any]
    known: Calibrations | None
    curves: Curves
    environment: dict[str, Any]
    checkpoint: Path | None
    notes: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> list[ClipScore]:
        """The clips whose condition is known."""
        return [row for row in self.rows if row.condition is not None]

    @property
    def own(self) -> bool:
        """Whether it is of one's own recordings, and told without the challenge's words."""
        return trains_on_own(self.config)

    @property
    def rule(self) -> Rule:
        """How the official score is measured."""
        return Rule.ACROSS_2022


def gather(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        UserError: It is no folder, holds neither scores nor a checkpoint, or a file in it cannot be understood.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give the folder of a run, such as runs/asd/version_0")
    run = RunFolder(folder)
    checkpoint = run.checkpoint
    notes = []
    rows: list[ClipScore] = []
    if run.scores.is_dir():
        rows = read_scores(run.scores)
    elif not checkpoint.is_file():
        raise UserError(f"{folder} holds neither scores nor a checkpoint; give the folder of a run of `asd fit`")
    else:
        notes.append(f"The run was never tested: run `asd test --ckpt_path {checkpoint}`.")
    if not checkpoint.is_file():
        notes.append("The run keeps no checkpoint, so nothing can be explained.")
    return Run(
        folder=folder,
        rows=rows,
        config=_config(run.config),
        known=calibration.read(folder),
        curves=_curves(run.metrics),
        environment=_environment(run.environment),
        checkpoint=checkpoint if checkpoint.is_file() else None,
        notes=notes,
    )


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_yaml(path)
    return content if isinstance(content, dict) else {}


def _environment(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); remove it") from error
    return content if isinstance(content, dict) else {}


def _curves(path: Path) -> Curves:
    """What Lightning's CSV logger wrote; the last value of each epoch."""
    if not path.is_file():
        return {}
    last: dict[str, dict[int, float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if name not in ("epoch", "step") and text and math.isfinite(float(text)):
                        last.setdefault(name, {})[int(row["epoch"])] = float(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); remove it") from error
    return {name: sorted(values.items()) for name, values in last.items()}
