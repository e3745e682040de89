"""Scorers that the first process fits: the same on every process, and in the memory of each once."""

from __future__ import annotations

import resource
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asd.scoring import (
    BEAMScorer,
    GaussianMixtureScorer,
    IsolationForestScorer,
    KMeansScorer,
    LocalDensity,
    MahalanobisScorer,
    NeighboursScorer,
    QuantileThreshold,
    Scorer,
    ZFusion,
)
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training.scorers import fitted_scorers
from tests.ranks import in_ranks

CLIPS, WIDTH = 100_000, 256
SCORERS = (
    NeighboursScorer(k=2, metric="euclidean", banks="domains"),
    KMeansScorer(k=3),
    MahalanobisScorer(),
    IsolationForestScorer(),
    LocalDensity(mode="varmin"),
    BEAMScorer(bands=2),
    ZFusion([KMeansScorer(k=2), GaussianMixtureScorer(components=1)]),
)


class Quick(NeighboursScorer):
    """Holds nothing out, which would take minutes."""

    def held_out(self, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        return torch.linspace(0, 1, len(embeddings))


def fitted_on(scorer: Scorer, embeddings: Tensor, names: tuple[str, ...]) -> SectionScorers:
    """Scorers of a run whose clips are divided among these sections; each clip is a recording of its own."""
    network: Any = SimpleNamespace(
        scorer=scorer, threshold=QuantileThreshold(), sections=SimpleNamespace(names=names, knows_spectra=False)
    )
    recorded = SimpleNamespace(to_json=lambda: '{"rate": 16000}')
    data: Any = SimpleNamespace(seconds=10.0, recorded=lambda: {names[0]: recorded})
    index = torch.arange(len(embeddings))
    bank = Bank(embeddings, index * len(names) // len(index), index % 5 == 0, index, index, block=index)
    return fitted_scorers(network, bank, data)


def needed_in_rank(rank: int) -> tuple[int, Tensor]:
    """How many bytes scorers needed beside the bank, and what they say of its first clips and of their opposites."""
    fitted_on(Quick(), torch.eye(64), ("fan",))  # what the first takes once, however many clips there are
    embeddings = torch.ones(CLIPS, WIDTH)
    embeddings[:, 0] = torch.arange(CLIPS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scorers = fitted_on(Quick(), embeddings, ("fan",))
    needed = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return needed, scorers(torch.cat([embeddings[:2], -embeddings[:2]]), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units")
@pytest.mark.parametrize("count", [1, 2])
def test_references_lie_in_the_memory_of_every_process_once(count: int) -> None:
    for needed, scores in in_ranks(needed_in_rank, count=count):
        assert scores[:2].tolist() == pytest.approx([0, 0], abs=1e-6)
        assert bool((scores[2:] > 0.5).all())
        assert needed < 1.4 * 4 * CLIPS * WIDTH, f"{needed / 1e6:.0f} MB for {4 * CLIPS * WIDTH / 1e6:.0f} MB"


def scored_in_rank(rank: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """What every kind of scorer says of the same clips, and its state."""
    generator = torch.Generator().manual_seed(0)
    embeddings, queries = torch.randn(2, 120, 8, generator=generator)
    found = []
    for scorer in SCORERS:
        scorers = fitted_on(scorer, embeddings, ("bearing", "fan"))
        scores = torch.stack([scorers(queries, number) for number in (0, 1)])
        found.append((scores, scorers.state_dict()))
    return found


def test_every_process_has_the_same_scorers() -> None:
    first, second = in_ranks(scored_in_rank)
    for (scores, state), (other_scores, other) in zip(first, second, strict=True):
        assert torch.equal(scores, other_scores)
        assert state.keys() == other.keys()
        for name, value in state.items():
            assert value.dtype == other[name].dtype
            assert torch.equal(value, other[name])
        assert bytes(state["held_out.0.recorded"].tolist()) == b'{"rate": 16000}'
