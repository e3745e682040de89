"""The false alarms that normal clips let expect."""

from __future__ import annotations

import math

import pytest

from asd.evaluation.false_alarms import FalseAlarms
from asd.evaluation.intervals import clopper_pearson


def test_nothing_seen_tells_nothing() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    none = FalseAlarms.of([], [])
    assert math.isnan(none.rate)
    assert none.line(10.0) == "nothing is known of false alarms"
    assert none.unkept("1/day", 10.0) == ""


def test_blocks_count_by_the_part_of_their_clips() -> None:
    found = FalseAlarms.of([True, False, False, False, True], [0, 0, 1, 1, 2])
    assert (found.rate, found.blocks, found.clips) == (0.5, 3, 5)
    low, high = clopper_pearson(1.5, 3)
    assert (found.low, found.high) == (low, high)
    assert found.daily(10.0) == pytest.approx((4320, low * 8640, high * 8640))


def test_it_is_told_by_the_day_or_in_percent() -> None:
    found = FalseAlarms.of([True, *[False] * 7], range(8))
    assert found.line(10.0) == "false alarms: 1,080 a day expected, 27 to 4,549 by 8 independent blocks of 8 clips"
    assert found.line(math.nan).startswith("false alarms: 12.5 % expected, 0.316 to 52.7 by 8")


def test_what_so_few_cannot_promise_is_said() -> None:
    few = FalseAlarms.of([False] * 8, range(8))
    assert "1/day was asked for: 8 independent blocks" in few.unkept("1/day", 10.0)
    assert "no less than 37 %, 3,192 a day" in few.unkept("1/day", 10.0)
    assert few.unkept("40%", 10.0) == ""
    assert few.unkept(None, 10.0) == ""
