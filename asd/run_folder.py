"""The folder of a run: what lies where in it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from asd.errors import UserError

_CHECKPOINTS = "checkpoints"


class RunFolder:
    """Paths in the folder of a run, whether there is anything or not.

    Args:
        path: The folder, such as ``runs/beats/version_0``.

    Attributes:
        path: The folder.
        checkpoint: The last checkpoint.
        merged: The one in which LoRA, DoRA or BitFit are folded in.
        config: The resolved configuration.
        environment: What it was made with.
        metrics: What the CSV logger wrote.
        scores: Folder of score and decision files.
        results: What was measured.
        calibration: Thresholds and scores of normal clips.
        feedback: What people said of verdicts.
        pictures: Folder of pictures.
        embeddings: Folder of stored embeddings.
        rescored: Folder of what `asd rescore` makes of them.
        report: The report as a page.
        card: The model card.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / _CHECKPOINTS / "last.ckpt"
        self.merged = self.path / _CHECKPOINTS / "merged.ckpt"
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.csv"
        self.scores = self.path / "scores"
        self.results = self.path / "results.json"
        self.calibration = self.path / "calibration.json"
        self.feedback = self.path / "feedback.jsonl"
        self.pictures = self.path / "pictures"
        self.embeddings = self.path / "embeddings"
        self.rescored = self.path / "rescored"
        self.report = self.path / "report.html"
        self.card = self.path / "model_card.md"

    @classmethod
    def of_checkpoint(cls, checkpoint: Path | str) -> Self | None:
        """The run in whose folder a checkpoint lies; ``None``: it lies elsewhere."""
        folder = Path(checkpoint).parent
        return cls(folder.parent) if folder.name == _CHECKPOINTS else None

    @property
    def title(self) -> str:
        """What people call it: ``beats/version_0``, where its own name is but a number."""
        path = self.path.resolve()
        return f"{path.parent.name}/{path.name}" if path.name.startswith("version_") else path.name

    def __str__(self) -> str:
        """The path."""
        return str(self.path)


def checkpoint_at(place: Path | str) -> Path:
    """The checkpoint that is named by itself or by its run's folder.

    Raises:
        UserError: A folder without any.
    """
    path = Path(place)
    if not path.is_dir():
        return path
    last = RunFolder(path).checkpoint
    if not last.is_file():
        raise UserError(
            f"{path} keeps no checkpoint (no {last}); give the folder of a run of `asd fit`, or a .ckpt file"
        )
    return last


def scores_at(place: Path | str) -> Path:
    """The folder of score files that is named by itself or by its run's folder."""
    path = Path(place)
    scores = RunFolder(path).scores
    return scores if scores.is_dir() and not any(path.glob("anomaly_score_*.csv")) else path
