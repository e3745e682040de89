"""Sensitivities to choose from, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scipy.stats import binomtest

from asd.evaluation.calibration import Calibration
from asd.inference.sensitivity import Step, steps

SCORES = [float(score) for score in range(40)]


def known(alarm: float, abstain: float, scores: Sequence[float], blocks: Sequence[int] = ()) -> Calibration:
    return Calibration(alarm, abstain, tuple(scores), (), tuple(blocks), ())


def above(step: Step) -> int:
    return round(step.false_alarms.rate * step.false_alarms.clips)


def test_each_step_costs_what_it_says() -> None:
    found = steps(known(37.5, 37.5, SCORES))
    assert [above(one) for one in found] == [0, 1, 2, 3, 5, 8, 13], "from the least to the most sensitive"
    for one in found:
        assert sum(score > one.limits.alarm for score in SCORES) == above(one)
    daily, low, high = found[2].false_alarms.daily(10)
    exact = binomtest(2, 40).proportion_ci(method="exact")
    assert (daily, low, high) == pytest.approx((8640 * 2 / 40, 8640 * exact.low, 8640 * exact.high))


def test_the_trained_one_is_among_them_once() -> None:
    for alarm in (37.5, 100.0, -1.0, 20.2):
        found = steps(known(alarm, alarm, SCORES))
        assert [one.limits.alarm for one in found if one.trained] == [alarm]
        alarms = [one.limits.alarm for one in found]
        assert alarms == sorted(alarms, reverse=True)
        assert len({above(one) for one in found}) == len(found), "one of each price"
    assert [one.trained for one in steps(known(3, 3, []))] == [True], "without a normal clip there is no other"


def test_the_band_stays_below_the_limit() -> None:
    found = steps(known(37.5, 30.0, SCORES))
    assert [one.limits.abstain for one in found] == [30.0, 30.0, 30.0, 30.0, 30.0, 30.0, 26.0]
    plain = steps(known(37.5, 37.5, SCORES))
    assert all(one.limits.abstain == one.limits.alarm for one in plain), "no band comes of a choice"


def test_equal_scores_are_one_step() -> None:
    found = steps(known(2.0, 2.0, [1.0] * 20 + [3.0] * 4))
    assert [(one.limits.alarm, above(one)) for one in found] == [(3.0, 0), (2.0, 4)]


def test_the_price_is_sure_by_blocks_not_by_clips() -> None:
    """Copies of four recordings tell no more than four recordings."""
    plain, copies = (steps(known(37.5, 37.5, SCORES, blocks))[0] for blocks in ((), [0, 1, 2, 3] * 10))
    assert plain.false_alarms.rate == copies.false_alarms.rate == 0
    assert plain.false_alarms.high == pytest.approx(0.088, abs=1e-3)
    assert copies.false_alarms.high == pytest.approx(0.602, abs=1e-3)
