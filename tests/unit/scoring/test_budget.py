"""How many false alarms are allowed, as people say it."""

from __future__ import annotations

import math

import pytest
import torch

from asd.errors import UserError
from asd.scoring.budget import Budget
from asd.scoring.threshold import GammaThreshold, QuantileThreshold


@pytest.mark.parametrize(
    ("said", "hop", "rate"),
    [
        ("1/day", 10.0, 10 / 86400), ("2/week", 5.0, 10 / 604800), ("0.5 / hour", 3600.0, 0.5),
        ("1/month", 86400.0, 1 / 30), ("1/year", 86400.0, 1 / 365), ("5%", 10.0, 0.05), ("5 %", 10.0, 0.05),
        ("0.1", 10.0, 0.1), (0.1, math.nan, 0.1), (".5%", 1.0, 0.005),
    ],
)  # fmt: skip
def test_what_is_said_becomes_a_part_of_the_decisions(said: str | float, hop: float, rate: float) -> None:
    assert Budget.parse(said).rate(hop) == pytest.approx(rate)


@pytest.mark.parametrize(
    "said", ["", "often", "1", "3", "0/day", "0%", "-1/day", "100%", "1/fortnight", "nan", "1/day/day", "1e3/day"]
)
def test_anything_else_is_refused_in_a_line(said: str) -> None:
    with pytest.raises(UserError, match=r"give how many in a time, such as 1/day"):
        Budget.parse(said)


@pytest.mark.parametrize("hop", [math.nan, 86400.0, math.inf])
def test_no_more_than_there_are_decisions(hop: float) -> None:
    with pytest.raises(UserError, match=r"give a part of the decisions, such as 5%"):
        Budget.parse("1/day").rate(hop)


def test_a_threshold_allows_what_was_asked_for() -> None:
    scores = torch.arange(1001.0)
    assert QuantileThreshold(false_alarms="5%").fit(scores).alarm == pytest.approx(950)
    assert QuantileThreshold(false_alarms="864/day").fit(scores, hop=10.0).alarm == pytest.approx(900)
    assert QuantileThreshold().allowing("1%").fit(scores).alarm == pytest.approx(990)
    assert QuantileThreshold().allowing("1%").quantile == 0.9
    rare = GammaThreshold(false_alarms="1/day").fit(scores[1:], hop=10.0).alarm
    assert rare > 2 * GammaThreshold(false_alarms="5%").fit(scores[1:]).alarm
    with pytest.raises(UserError, match="an unknown time"):
        QuantileThreshold(false_alarms="1/day").fit(scores)
    with pytest.raises(UserError, match="false alarms are 'many'"):
        GammaThreshold(false_alarms="many")


def test_the_band_lies_between_the_limits_of_both_scores() -> None:
    apart, scores = torch.arange(101.0), 2 * torch.arange(101.0)
    assert QuantileThreshold(0.9).band(apart, scores) == pytest.approx((180.0, 90.0))
    assert QuantileThreshold(0.9).band(scores, apart) == pytest.approx((180.0, 90.0)), "never the other way round"
    assert QuantileThreshold(0.9, abstain=0.0).band(apart, scores) == pytest.approx((180.0, 180.0))
    assert QuantileThreshold(0.9, abstain=0.4).band(apart, scores) == pytest.approx((180.0, 100.0))
    assert QuantileThreshold(0.9).band(apart[:0], scores) == pytest.approx((180.0, 180.0))
