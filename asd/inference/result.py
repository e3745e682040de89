"""What a detector says of a recording, and what it knows of a machine to say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from asd.scoring.conformal import Ranks
from asd.scoring.limits import Decision, Limits
from asd.scoring.sections import SectionScorers


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
        machine: The machine it was compared with, by the name of machine and section.
        score: Mean or maximum of the scores of the windows; higher is more anomalous.
        decision: Equal to ``normal``, ``uncertain`` (in the band of abstention) or ``anomalous``.
        threshold: Scores above it are anomalous.
        percentile: Percent of the normal training clips, held out, that score no higher; nan where none is known.
        p_value: Conformal p-value: how often normal sound would score as high; nan where none is known. See
            `asd.scoring.conformal.Ranks`.
        windows: The windows in order.
        remarks: What is worth knowing of the recording, a line each, such as that it was recorded otherwise.
    """

    name: str
    machine: str
    score: float
    decision: Decision
    threshold: float
    percentile: float
    p_value: float
    windows: tuple[Window, ...]
    remarks: tuple[str, ...] = ()

    @property
    def anomalous(self) -> bool:
        """Whether the score lies above the threshold."""
        return self.decision == Decision.ANOMALOUS

    def to_dict(self) -> dict[str, Any]:
        """The same in plain types; percentile and p-value are ``None`` where no normal clip is known."""
        unknown = {name: None for name in ("percentile", "p_value") if math.isnan(getattr(self, name))}
        return {
            **vars(self),
            "decision": str(self.decision),
            **unknown,
            "windows": [dict(vars(window)) for window in self.windows],
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class Usual:
    """What the scores of a machine are compared with.

    Attributes:
        machine: The name of machine and section.
        limits: Where decisions change.
        normal: Scores of the normal clips, held out.
    """

    machine: str
    limits: Limits
    normal: Ranks

    @classmethod
    def of(cls, sections: SectionScorers, number: int) -> Self:
        """What fitted scorers know of the machine of that number."""
        clips = sections.normal_clips(number)
        normal = Ranks(clips.scores.tolist(), clips.recording.tolist())
        return cls(sections.names[number], sections.limits(number), normal)

    def result(self, name: str, score: float, windows: Sequence[tuple[float, float]]) -> Result:
        """What a score of a recording says, and the starts and scores of its windows, all of them finite."""
        return Result(
            name=name,
            machine=self.machine,
            score=score,
            decision=self.limits.decide(score),
            threshold=self.limits.alarm,
            percentile=self.normal.percentile(score),
            p_value=self.normal.p_value(score),
            windows=tuple(Window(start, one, self.limits.decide(one) == Decision.ANOMALOUS) for start, one in windows),
        )
