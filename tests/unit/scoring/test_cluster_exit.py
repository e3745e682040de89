"""Surroundings that end at a gap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from asd.scoring import LocalDensity, MahalanobisScorer, NeighboursScorer
from asd.scoring.cluster_exit import within_cluster


def by_hand(away: list[float]) -> int:
    """As the paper has it, for one reference."""
    known = [one for one in away if np.isfinite(one)]
    if len(known) < 3:
        return len(known)
    ratios = [a / b if b else 1.0 for a, b in pairwise(known)]
    smooth = [(a + b) / 2 for a, b in pairwise(ratios)]
    limit = np.quantile(smooth, 0.04)
    return next((k for k, one in enumerate(smooth, start=1) if one < limit), len(known) - 2)


def test_the_first_gap_ends_the_cluster() -> None:
    generator = np.random.default_rng(0)
    for size in (3, 5, 16, 64):
        rows = np.sort(generator.uniform(0.1, 1, (20, size)), axis=1)
        rows[:, size // 2 :] += generator.uniform(0, 3, (20, 1))
        rows[3, 2:] = np.inf
        rows[4, size - 1] = np.inf
        rows[5] = np.inf
        rows[6, :2] = 0
        found = within_cluster(torch.from_numpy(rows))
        assert found.tolist() == [by_hand(row.tolist()) for row in rows]


def test_a_gap_in_evenly_spaced_neighbours_is_seen_and_evenness_is_none() -> None:
    even = torch.full((1, 20), 1.0)
    assert within_cluster(even).tolist() == [18]
    # Half of the neighbours lie in another cluster, ten times as far away.
    gap = torch.cat([1 + 0.01 * torch.arange(10), 10 + 0.01 * torch.arange(10)])[None]
    assert within_cluster(gap).tolist() == [9]
    assert within_cluster(torch.zeros(1, 20)).tolist() == [18], "clips at one place are no gap"
    assert within_cluster(torch.tensor([[1.0, torch.inf]])).tolist() == [1]


@pytest.mark.parametrize("base", [NeighboursScorer(1, "euclidean"), MahalanobisScorer(shrinkage=0.5)])
def test_many_neighbours_stay_within_the_cluster_of_a_reference(base: object) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 8, generator=generator) * 0.1
    rows[30:] += 5
    none = torch.zeros(60, dtype=torch.bool)
    wide = LocalDensity(base, "difference", k=40).fit(rows, none).spacing
    kept = LocalDensity(base, "difference", k=40, cluster_exit=True).fit(rows, none).spacing
    few = LocalDensity(base, "difference", k=20).fit(rows, none).spacing
    if isinstance(base, NeighboursScorer):
        assert float(kept.max()) < 1.5 * float(few.max()) < float(wide.min())
    else:
        assert not torch.equal(kept, wide)
