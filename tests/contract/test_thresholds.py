"""Every threshold that is found passes every check; one that must not is caught."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asd.errors import UserError
from asd.plugins import known
from asd.scoring import Limits, QuantileThreshold, Threshold
from asd.testing import check_threshold
from asd.testing.contract import Check, name_of, run_check
from asd.testing.threshold import CHECKS

FOUND = {name: cls for name, cls in known(Threshold).items() if cls.__module__.startswith(("asd.", "asd_plugins."))}
BY_NAME = {name_of(check): check for check in CHECKS}


def test_our_thresholds_are_found() -> None:
    assert {"ConformalThreshold", "GammaThreshold", "QuantileThreshold"} <= set(FOUND)


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize(
    "options", [{}, {"quantile": 0.8, "target": "highest", "abstain": 0.1}], ids=["usual", "others"]
)
@pytest.mark.parametrize("name", FOUND)
def test_thresholds_hold_to_the_contract(name: str, options: dict[str, object], check: Check[Threshold]) -> None:
    run_check(check, FOUND[name](**options))  # type: ignore[arg-type]


class _Margin(QuantileThreshold):
    """The quantile and a margin.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        margin: Added to it.
    """

    def __init__(self, quantile: float = 0.9, margin: float = 0.1) -> None:
        super().__init__(quantile)
        self.margin = margin

    def at(self, scores: Tensor, quantile: float) -> float:
        return super().at(scores, quantile) + self.margin * float(scores.std(correction=0))


class _Random(_Margin):
    __doc__ = _Margin.__doc__

    def __init__(self, quantile: float = 0.9, margin: float = 0.1) -> None:
        super().__init__(quantile, margin + float(torch.rand(())))


class _Deviation(QuantileThreshold):
    """Not finite for one clip."""

    def at(self, scores: Tensor, quantile: float) -> float:
        return float(scores.mean() + scores.std() * quantile)


class _Below(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def at(self, scores: Tensor, quantile: float) -> float:
        return super().at(scores, quantile) - 1e-3


class _Upside(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def at(self, scores: Tensor, quantile: float) -> float:
        return super().at(scores, 1 - quantile)


class _First(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def at(self, scores: Tensor, quantile: float) -> float:
        return super().at(scores[: max(1, len(scores) * 9 // 10)], quantile)


class _Writing(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def fit(self, scores: Tensor, target: Tensor | None = None) -> Limits:
        limits = super().fit(scores, target)
        scores.sub_(scores.mean())
        return limits


class _Lenient(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def fit(self, scores: Tensor, target: Tensor | None = None) -> Limits:
        try:
            return super().fit(scores, target)
        except UserError:
            return Limits(0.0, 0.0)


class _Remembering(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__
    last = 0.0

    def at(self, scores: Tensor, quantile: float) -> float:
        self.last = max(super().at(scores, quantile), self.last / 2)
        return self.last


class _Blind(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def fit(self, scores: Tensor, target: Tensor | None = None) -> Limits:
        return super().fit(scores)


class _Undecided(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def fit(self, scores: Tensor, target: Tensor | None = None) -> Limits:
        limits = super().fit(scores, target)
        return Limits(limits.alarm, limits.alarm - 0.1)


class _Unpicklable(QuantileThreshold):
    __doc__ = QuantileThreshold.__doc__

    def __reduce__(self) -> str:
        raise TypeError("it holds a lock")

    def __deepcopy__(self, memo: object) -> Threshold:
        return self


def test_a_sound_threshold_passes() -> None:
    check_threshold(_Margin())
    check_threshold(_Margin(0.8, 0.05))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_Random(), "config: other limits"),
        (_Deviation(), "finite"),
        (_Below(), "equal_scores"),
        (_Upside(), "part"),
        (_Upside(), "monotone"),
        (_First(), "order"),
        (_Writing(), "input_unchanged"),
        (_Lenient(), "bad_scores"),
        (_Remembering(), "deterministic"),
        (_Blind(), "target_rules"),
        (_Undecided(), "abstention: pooled: a band"),
        (_Unpicklable(), "copies"),
        (_Deviation(), "documented"),
    ],
)
def test_broken_thresholds_are_caught(broken: Threshold, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_check(BY_NAME[message.partition(":")[0]], broken)
    with pytest.raises(AssertionError):
        check_threshold(broken)
