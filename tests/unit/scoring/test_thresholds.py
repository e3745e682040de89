"""Thresholds number by number: each rule against what it is defined to be."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from asd.errors import UserError
from asd.scoring.threshold import ConformalThreshold, GammaThreshold, Limits, QuantileThreshold, Threshold

KINDS = [GammaThreshold, QuantileThreshold, ConformalThreshold]


def test_the_gamma_quantile_is_not_that_of_the_scores() -> None:
    scores = torch.tensor([0.1, 0.2, 0.2, 0.3, 0.9])
    shape, location, scale = stats.gamma.fit(scores.double().numpy(), floc=0)
    found = GammaThreshold(0.8).fit(scores).alarm
    assert location == 0
    assert found == pytest.approx(stats.gamma.ppf(0.8, shape, 0, scale))
    assert abs(found - float(np.quantile(scores.double().numpy(), 0.8))) > 0.05


def test_three_different_scores_above_zero_are_what_a_gamma_takes() -> None:
    three = torch.tensor([1.0, 2.0, 4.0])
    assert GammaThreshold().fit(three) != QuantileThreshold().fit(three)
    two = torch.tensor([1.0, 2.0, 2.0, 2.0])
    assert GammaThreshold().fit(two) == QuantileThreshold().fit(two)
    with_zero = torch.tensor([0.0, 1.0, 2.0, 4.0])
    assert GammaThreshold().fit(with_zero) == QuantileThreshold().fit(with_zero)


def test_a_gamma_without_a_finite_quantile_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats.gamma, "ppf", lambda *shape: np.inf)
    scores = torch.tensor([1.0, 2.0, 4.0])
    assert GammaThreshold().fit(scores) == QuantileThreshold().fit(scores)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_said_is_a_pooled_quantile_of_nine_tenths(kind: type[Threshold]) -> None:
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    assert defaults == {"quantile": 0.9, "target": "pooled", "abstain": None, "false_alarms": None}
    threshold = kind()
    assert (threshold.quantile, threshold.target, threshold.abstain) == (0.9, "pooled", None)


@pytest.mark.parametrize(
    ("quantile", "rank"),
    [(0.01, 1), (0.09, 1), (0.1, 1), (0.11, 2), (0.3, 3), (0.5, 5), (0.89, 9), (0.9, 9), (0.91, 9), (0.99, 9)],
)
def test_the_conformal_rank_of_nine_scores(quantile: float, rank: int) -> None:
    """The least k with k of ten at or above the quantile; the lowest is the first, the highest the last."""
    scores = torch.arange(1.0, 10.0).flip(0)
    assert ConformalThreshold(quantile).fit(scores).alarm == rank


def test_a_conformal_rank_below_the_first_is_the_first() -> None:
    assert ConformalThreshold(1e-12).fit(torch.tensor([3.0, 1.0, 2.0])).alarm == 1.0
    assert ConformalThreshold(0.5).fit(torch.tensor([3.0])).alarm == 3.0


SOURCE = torch.arange(90.0)
ODD = torch.arange(7.0) + 100


def limits(rule: str, abstain: float = 0.0) -> Limits:
    scores, target = torch.cat([SOURCE, ODD]), torch.arange(97) >= 90
    return QuantileThreshold(0.9, rule, abstain).fit(scores, target)


def quantile(scores: Tensor, part: float) -> float:
    return float(np.quantile(scores.numpy(), part))


def test_each_rule_for_target_clips_holds_for_both_limits() -> None:
    pooled = torch.cat([SOURCE, ODD])
    balanced = torch.cat([SOURCE, ODD.repeat(13)])  # 90 / 7 is nearest to 13
    assert limits("pooled", 0.4) == pytest.approx((quantile(pooled, 0.9), quantile(pooled, 0.5)))
    assert limits("balanced", 0.4) == pytest.approx((quantile(balanced, 0.9), quantile(balanced, 0.5)))
    assert limits("highest", 0.4) == pytest.approx((quantile(ODD, 0.9), quantile(ODD, 0.5)))
    assert limits("highest").abstain == limits("highest").alarm


def test_the_higher_domain_may_be_the_source() -> None:
    scores, target = torch.cat([SOURCE, ODD - 200]), torch.arange(97) >= 90
    assert QuantileThreshold(0.9, "highest").fit(scores, target).alarm == pytest.approx(quantile(SOURCE, 0.9))


def test_without_flags_all_clips_are_of_one_domain() -> None:
    for rule in ("pooled", "balanced", "highest"):
        assert QuantileThreshold(0.9, rule).fit(SOURCE).alarm == pytest.approx(quantile(SOURCE, 0.9))


class Falling(QuantileThreshold):
    """A rule whose lower quantile lies higher, as one fitted to each quantile anew may have it."""

    def at(self, scores: Tensor, quantile: float) -> float:
        return 1 - quantile


class Endless(QuantileThreshold):
    """Infinite at its own quantile, or only at the one below it."""

    def at(self, scores: Tensor, quantile: float) -> float:
        if self.abstain:
            return -float("inf") if quantile < self.quantile else 1.0
        return float("inf")


def test_the_band_of_abstention_never_lies_above_the_threshold() -> None:
    assert Falling(0.9, abstain=0.5).fit(SOURCE) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [[], [float("nan"), 1.0], [1.0, float("inf")]])
def test_no_scores_and_scores_that_are_not_finite_are_refused(kind: type[Threshold], bad: list[float]) -> None:
    with pytest.raises(UserError, match=f"scores of {len(bad)} normal clips are none or not finite"):
        kind().fit(torch.tensor(bad))


def test_limits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="Endless gave a threshold of inf and inf; choose another one"):
        Endless().fit(SOURCE)
    with pytest.raises(UserError, match=r"Endless gave a threshold of 1\.0 and -inf; choose another one"):
        Endless(abstain=0.4).fit(SOURCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 0.0}, r"quantile is 0\.0; give a part in \(0, 1\), such as 0\.9$"),
        ({"quantile": 1.0}, r"quantile is 1\.0; give a part in \(0, 1\), such as 0\.9$"),
        ({"abstain": 0.9}, r"abstain is 0\.9; give a part from 0 to below the quantile, 0\.9$"),
        ({"abstain": -0.1}, r"abstain is -0\.1; give a part from 0"),
        ({"target": "both"}, "target is 'both'; choose one of pooled, balanced, highest$"),
    ],
)
def test_arguments_out_of_range_say_what_to_give(options: dict[str, object], message: str) -> None:
    for kind in KINDS:
        with pytest.raises(UserError, match=f"^{kind.__name__}: {message}"):
            kind(**options)


def test_scores_may_be_of_any_device_type_and_of_half_precision() -> None:
    few = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.bfloat16, requires_grad=True)
    assert QuantileThreshold(0.5).fit(few).alarm == pytest.approx(2.5)
    assert ConformalThreshold(0.5).fit(few).alarm == 3.0
