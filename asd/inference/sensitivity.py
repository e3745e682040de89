"""How sensitive a detector may be, and what each step costs in false alarms."""

from __future__ import annotations

from typing import NamedTuple

from asd.evaluation.calibration import Calibration, of_scorers
from asd.evaluation.false_alarms import FalseAlarms
from asd.inference.detector import Detector
from asd.scoring.limits import Limits


class Step(NamedTuple):
    """One setting.

    Attributes:
        limits: Where its decisions change.
        false_alarms: What normal clips, held out, let expect above its limit of alarms.
        trained: Whether it is the one that the detector comes with.
    """

    limits: Limits
    false_alarms: FalseAlarms
    trained: bool


def steps_of(detector: Detector) -> list[list[Step]]:
    """Settings of each machine, see `steps`."""
    return [steps(known) for known in of_scorers(detector.model.sections, detector.cut.hop).machines.values()]


def steps(known: Calibration) -> list[Step]:
    """Settings of a machine from the least to the most sensitive, the trained one among them.

    They lie at the scores of normal clips: with none of them above, then one, two, three, five, ... up to half of them.
    """
    alarm, abstain = known.limits
    falling = sorted((*known.source, *known.target), reverse=True)
    places, above, after = [], 0, 1
    while 2 * above < len(falling):
        places.append(falling[above])
        above, after = after, max(2, above + after)
    # One of each price, the trained one before others.
    by_price = {sum(score > place for score in falling): place for place in [*places, alarm]}
    return [
        Step(
            Limits(place, min(abstain, place) if abstain < alarm else place),
            known.expected(limit=place),
            place == alarm,
        )
        for _, place in sorted(by_price.items())
    ]
