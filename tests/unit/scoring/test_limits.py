"""The one rule that decides."""

from __future__ import annotations

import math

import pytest

from asd.errors import UserError
from asd.scoring.limits import Decision, Limits


@pytest.mark.parametrize(
    ("score", "decision"),
    [(-1.0, "normal"), (1.0, "normal"), (1.1, "uncertain"), (2.0, "uncertain"), (2.1, "anomalous"), (9e9, "anomalous")],
)
def test_a_limit_itself_lies_below(score: float, decision: str) -> None:
    assert Limits(2.0, 1.0).decide(score) == decision == str(Decision(decision))


def test_without_a_band_nobody_abstains() -> None:
    assert [Limits(1.0, 1.0).decide(score) for score in (0.9, 1.0, 1.1)] == ["normal", "normal", "anomalous"]


@pytest.mark.parametrize("limits", [(math.nan, 1.0), (2.0, math.nan), (math.inf, 1.0)])
def test_nothing_is_decided_by_what_is_not_finite(limits: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="nothing can be decided"):
        Limits(*limits).decide(1.5)
    with pytest.raises(UserError, match="nothing can be decided"):
        Limits(2.0, 1.0).decide(limits[1] if math.isnan(limits[1]) else math.inf)
