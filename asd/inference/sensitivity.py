"""How sensitive a detector may be, and what each step costs in false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asd.evaluation.intervals import Rate
from asd.scoring.budget import DAY
from asd.scoring.limits import Limits


class Step(NamedTuple):
    """One setting.

    Attributes:
        limits: Where its decisions change.
        false_alarms: Normal clips, held out, above its limit of alarms.
        trained: Whether it is the one that the detector comes with.
    """

    limits: Limits
    false_alarms: Rate
    trained: bool

    def a_day(self, seconds: float) -> tuple[float, float, float]:
        """False alarms a day, and the ends of the interval, where a clip of so many seconds follows another."""
        low, high = self.false_alarms.interval
        clips = DAY / seconds
        return self.false_alarms.value * clips, low * clips, high * clips


def steps(limits: Limits, scores: Sequence[float]) -> list[Step]:
    """Settings from the least to the most sensitive, the trained one among them.

    They lie at the scores of normal clips: with none of them above, then one, two, three, five, ... up to half of them.

    Args:
        limits: Those that the detector comes with.
        scores: Of its normal clips, held out.
    """
    falling = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    places, above, after = [], 0, 1
    while 2 * above < len(falling):
        places.append(float(falling[above]))
        above, after = after, max(2, above + after)
    # One of each price, the trained one before others.
    by_price = {int((falling > place).sum()): place for place in [*places, limits.alarm]}
    return [
        Step(
            Limits(place, min(limits.abstain, place) if limits.abstain < limits.alarm else place),
            Rate(count, len(falling)),
            place == limits.alarm,
        )
        for count, place in sorted(by_price.items())
    ]
