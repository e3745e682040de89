"""Scores in parts of the median of a domain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.errors import UserError
from asd.scoring import GaussianMixtureScorer, KMeansScorer, MedianScaled, NeighboursScorer, Scorer

GENERATOR = torch.Generator().manual_seed(4)
# A tight source domain, and a loose target domain in another direction.
SOURCE = torch.randn(60, 8, generator=GENERATOR) * 0.1 + torch.tensor([3.0, 0, 0, 0, 0, 0, 0, 0])
LOOSE = torch.randn(9, 8, generator=GENERATOR) * 0.6 + torch.tensor([0, 3.0, 0, 0, 0, 0, 0, 0])
ROWS = torch.cat([SOURCE, LOOSE])
TARGET = torch.arange(69) >= 60
QUERY = torch.cat([ROWS[::5] + 0.05, torch.randn(6, 8, generator=GENERATOR)])
GROUP = torch.arange(69) // 3


def cosine(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return 1 - (query @ rows.T) / np.linalg.norm(query, axis=1)[:, None] / np.linalg.norm(rows, axis=1)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
@pytest.mark.parametrize("base", [NeighboursScorer(), KMeansScorer(4)], ids=["neighbours", "kmeans"])
def test_scores_are_parts_of_the_median_of_the_domain_that_a_clip_is_like(assignment: str, base: Scorer) -> None:
    found = MedianScaled(base, assignment).fit(ROWS, TARGET, GROUP)(QUERY).numpy()
    held_out = base.held_out(ROWS, TARGET, GROUP).double().numpy()
    raw = base.fit(ROWS, TARGET, GROUP)(QUERY).double().numpy()
    target = TARGET.numpy()
    medians = [np.median(held_out[~target]), np.median(held_out[target])]
    rows, query = ROWS.double().numpy(), QUERY.double().numpy()
    own = GROUP.numpy()[:, None] == GROUP.numpy()
    temperature = np.median(np.where(own, np.inf, cosine(rows, rows)).min(1))
    for score, value, clip in zip(found, raw, query, strict=True):
        away = [cosine(clip[None], rows[~target]).min(), cosine(clip[None], rows[target]).min()]
        if assignment == "hard":
            expected = value / medians[int(away[1] < away[0])]
        else:
            weights = np.exp([-away[0] / temperature, -away[1] / temperature])
            weights /= weights.sum()
            expected = value * (weights[0] / medians[0] + weights[1] / medians[1])
        assert score == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_normal_clip_of_the_loose_domain_scores_less_than_a_fault_in_the_tight_one(assignment: str) -> None:
    fault, normal = SOURCE[:20] + 0.3 * torch.randn(20, 8, generator=GENERATOR), LOOSE + 0.05
    raw = NeighboursScorer(banks="domains")
    held_out = raw.held_out(ROWS, TARGET, torch.arange(69))
    usual = held_out[60:].median()
    assert float(usual) > float(raw.fit(ROWS, TARGET)(fault).median()), "the raw score has it the other way round"
    scaled = MedianScaled(raw, assignment).fit(ROWS, TARGET)
    assert float(scaled(fault).median()) > float(scaled(normal).median())
    assert float(scaled(fault).median()) > 2


def test_one_domain_alone_is_scaled_by_its_own_median() -> None:
    none = torch.zeros(60, dtype=torch.bool)
    base = NeighboursScorer()
    usual = base.held_out(SOURCE, none, torch.arange(60)).quantile(0.5)
    expected = base.fit(SOURCE, none)(QUERY) / usual
    torch.testing.assert_close(MedianScaled(base).fit(SOURCE, none)(QUERY), expected)
    torch.testing.assert_close(MedianScaled(base).fit(SOURCE, ~none)(QUERY), expected)


def test_scores_that_may_be_negative_are_refused() -> None:
    with pytest.raises(UserError, match="MedianScaled: GaussianMixtureScorer gives negative scores"):
        MedianScaled(GaussianMixtureScorer(1)).fit(SOURCE * 0.01, TARGET[:60])
    with pytest.raises(UserError, match="assignment is 'x'"):
        MedianScaled(assignment="x")
