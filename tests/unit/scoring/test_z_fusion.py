"""Back ends fused by their held-out scores."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from asd.configured import configured
from asd.errors import UserError
from asd.scoring import KMeansScorer, LocalDensity, MahalanobisScorer, NeighboursScorer, Scorer, ZFusion
from asd.testing.contract import reparsed

GENERATOR = torch.Generator().manual_seed(6)
ROWS = torch.randn(50, 6, generator=GENERATOR) + 2
TARGET = torch.arange(50) >= 45
GROUP = torch.arange(50) // 2
QUERY = torch.randn(11, 6, generator=GENERATOR)


@pytest.mark.parametrize("combination", ["mean", "minimum"])
def test_back_ends_are_standardised_by_their_held_out_scores(combination: str) -> None:
    scorers = [NeighboursScorer(2), MahalanobisScorer(), LocalDensity(mode="varmin", k=4)]
    found = ZFusion(scorers, combination).fit(ROWS, TARGET, GROUP)(QUERY).numpy()
    standard = []
    for one in scorers:
        scores = one.held_out(ROWS, TARGET, GROUP).double().numpy()
        raw = copy.deepcopy(one).fit(ROWS, TARGET, GROUP)(QUERY).double().numpy()
        standard.append((raw - scores.mean()) / scores.std())
    expected = np.mean(standard, axis=0) if combination == "mean" else np.min(standard, axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_no_back_end_outweighs_another_by_its_unit() -> None:
    """Of a clip far away in one metric and of one far away in another, each is found."""
    near, far = NeighboursScorer(1, "cosine"), NeighboursScorer(1, "euclidean")
    fused = ZFusion([near, far]).fit(ROWS, TARGET)
    turned, longer = -ROWS[:1], 6 * ROWS[:1]
    usual = fused(ROWS + 0.1).max()
    assert float(fused(turned)) > float(usual) and float(fused(longer)) > float(usual)


def test_back_ends_by_name() -> None:
    scorers = ["NeighboursScorer", {"class_path": "KMeansScorer", "init_args": {"k": 3}}]
    made = configured({"class_path": "ZFusion", "init_args": {"scorers": scorers}}, Scorer)
    again = reparsed(made, Scorer)
    expected = ZFusion([NeighboursScorer(), KMeansScorer(3)]).fit(ROWS, TARGET)(QUERY)
    for one in (made, again):
        torch.testing.assert_close(one.fit(ROWS, TARGET)(QUERY), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"combination": "median"}, "combination"),
        ({"scorers": ["KMeansScorer"]}, "1 scorers are given; give two or more"),
        ({"scorers": ["KMeansScorer", "Kmean"]}, "Did you mean KMeansScorer"),
    ],
)
def test_arguments_that_do_not_fit_are_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        configured({"class_path": "ZFusion", "init_args": arguments}, Scorer)
