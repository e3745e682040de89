"""What a detector says of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Window:
    """One window of a recording.

    Attributes:
        start: Where it begins, in seconds.
        score: Higher is more anomalous.
        anomalous: Whether the score lies above the threshold.
    """

    start: float
    score: float
    anomalous: bool


@dataclass(frozen=True)
class Result:
    """What the detector says of a recording.

    Attributes:
        name: Path of the file; empty for samples.
        machine: The machine it was compared with, by the name of its population.
        score: Mean or maximum of the scores of the windows; higher is more anomalous.
        decision: ``anomalous``, ``doubtful`` (in the band of abstention) or ``normal``.
        threshold: Scores above it are anomalous.
        percentile: Percent of the normal training clips, held out, that score no higher.
        windows: The windows in order.
    """

    name: str
    machine: str
    score: float
    decision: Literal["anomalous", "doubtful", "normal"]
    threshold: float
    percentile: float
    windows: tuple[Window, ...]

    @property
    def anomalous(self) -> bool:
        """Whether the score lies above the threshold."""
        return self.decision == "anomalous"
