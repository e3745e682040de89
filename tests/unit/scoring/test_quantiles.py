"""Quantiles of few values as `torch.quantile` has them, and of more than it takes."""

from __future__ import annotations

import pytest
import torch

from asd.scoring import GammaThreshold, MedianScaled, NeighboursScorer, QuantileThreshold
from asd.scoring.quantiles import quantile

VALUES = torch.randn(101, generator=torch.Generator().manual_seed(0))
MOST = 2**24
"""Values that `torch.quantile` takes."""


@pytest.mark.parametrize("part", [0.0, 0.04, 0.37, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("count", [1, 2, 100, 101])
def test_values_are_those_of_torch(part: float, count: int) -> None:
    values = VALUES[:count].double()
    assert torch.equal(quantile(values, part), torch.quantile(values, part))
    single = quantile(VALUES[:count], part)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, torch.quantile(VALUES[:count], part))


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_found_as_by_torch(odd: float) -> None:
    values = VALUES.clone()
    values[[3, 70]] = odd
    for part in (0.0, 0.5, 1.0):
        assert torch.equal(quantile(values, part).nan_to_num(9.0), torch.quantile(values, part).nan_to_num(9.0))


def test_more_values_than_torch_takes() -> None:
    many = torch.arange(MOST + 5, dtype=torch.float64)
    assert QuantileThreshold().at(many, 0.75) == 0.75 * (MOST + 4)
    assert GammaThreshold().at(many, 0.25) == 0.25 * (MOST + 4)


def test_no_scorer_asks_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("quantile() input tensor is too large")

    monkeypatch.setattr(torch, "quantile", refused)
    monkeypatch.setattr(torch.Tensor, "quantile", refused)
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    MedianScaled(NeighboursScorer()).fit(rows, torch.arange(30) > 20)
