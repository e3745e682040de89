"""Where decisions change, and the one rule that decides; without torch, for whoever reads scores from files."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from asd.errors import UserError


class Decision(StrEnum):
    """What is said of a clip or a recording."""

    NORMAL = "normal"
    UNCERTAIN = "uncertain"
    ANOMALOUS = "anomalous"


class Limits(NamedTuple):
    """Where decisions change.

    Attributes:
        alarm: Above it, an alarm.
        abstain: Above it and up to `alarm`, no decision: the band of abstention, empty where both are equal.
    """

    alarm: float
    abstain: float

    def decide(self, score: float) -> Decision:
        """What follows from a score; the one rule, for whoever decides.

        Raises:
            UserError: The score or a limit is not finite: neither normal nor anomalous follows.
        """
        if not (math.isfinite(score) and math.isfinite(self.alarm) and math.isfinite(self.abstain)):
            raise UserError(
                f"a score of {score} against limits of {self.alarm} and {self.abstain}: nothing can be decided by what "
                "is not finite; train with a lower learning rate or in float32 (trainer.precision)"
            )
        if score > self.alarm:
            return Decision.ANOMALOUS
        return Decision.UNCERTAIN if score > self.abstain else Decision.NORMAL
