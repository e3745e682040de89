"""Sensitivities to choose from, and what they cost."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from asd.inference.sensitivity import steps
from asd.scoring.limits import Limits

SCORES = [float(score) for score in range(40)]


def test_each_step_costs_what_it_says() -> None:
    found = steps(Limits(37.5, 37.5), SCORES)
    assert [one.false_alarms.count for one in found] == [0, 1, 2, 3, 5, 8, 13], "from the least to the most sensitive"
    for one in found:
        assert sum(score > one.limits.alarm for score in SCORES) == one.false_alarms.count
    daily, low, high = found[2].a_day(10)
    exact = binomtest(2, 40).proportion_ci(method="exact")
    assert (daily, low, high) == pytest.approx((8640 * 2 / 40, 8640 * exact.low, 8640 * exact.high))


def test_the_trained_one_is_among_them_once() -> None:
    for alarm in (37.5, 100.0, -1.0, 20.2):
        found = steps(Limits(alarm, alarm), SCORES)
        assert [one.limits.alarm for one in found if one.trained] == [alarm]
        alarms = [one.limits.alarm for one in found]
        assert alarms == sorted(alarms, reverse=True)
        assert len({one.false_alarms.count for one in found}) == len(found), "one of each price"
    assert [one.trained for one in steps(Limits(3, 3), [])] == [True], "without a normal clip there is no other"


def test_the_band_stays_below_the_limit() -> None:
    found = steps(Limits(37.5, 30.0), SCORES)
    assert [one.limits.abstain for one in found] == [30.0, 30.0, 30.0, 30.0, 30.0, 30.0, 26.0]
    plain = steps(Limits(37.5, 37.5), SCORES)
    assert all(one.limits.abstain == one.limits.alarm for one in plain), "no band comes of a choice"


def test_equal_scores_are_one_step() -> None:
    found = steps(Limits(2.0, 2.0), [1.0] * 20 + [3.0] * 4)
    assert [(one.limits.alarm, one.false_alarms.count) for one in found] == [(3.0, 0), (2.0, 4)]
