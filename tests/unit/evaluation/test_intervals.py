"""Exact intervals of rates."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest

from asd.evaluation.intervals import Rate, clopper_pearson


@pytest.mark.parametrize(("count", "clips"), [(0, 10), (1, 30), (14, 30), (29, 30), (30, 30)])
def test_the_interval_is_the_exact_one(count: int, clips: int) -> None:
    expected = binomtest(count, clips).proportion_ci(method="exact")
    assert clopper_pearson(count, clips) == pytest.approx((expected.low, expected.high))


def test_ten_clips_without_an_alarm_promise_little() -> None:
    assert clopper_pearson(0, 10) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    low, high = clopper_pearson(2.5, 10)
    assert clopper_pearson(2, 10)[0] < low < clopper_pearson(3, 10)[0], "clips that count for less than one each"
    assert clopper_pearson(2, 10)[1] < high < clopper_pearson(3, 10)[1]
    assert clopper_pearson(0, 0) == (0, 1), "nothing was seen, and nothing is known"


def test_more_alarms_than_clips_are_refused() -> None:
    for count in (-1, 11, math.nan):
        with pytest.raises(ValueError, match="of 10 clips"):
            clopper_pearson(count, 10)


def test_a_rate_is_shown_with_its_interval() -> None:
    assert Rate(1, 8).text() == "12.5 (0.3 to 52.7)"
    assert Rate.of(0.125, 8) == Rate(1, 8)
    assert Rate.of(math.nan, 8).text() == "-"
    assert math.isnan(Rate(0, 0).value)
