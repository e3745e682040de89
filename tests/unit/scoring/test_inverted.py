"""Approximate neighbours: what is missed, what a checkpoint holds, and where every clip is compared all the same."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring import NeighboursScorer, neighbours
from asd.scoring.distances import Metric, nearest, placed
from asd.scoring.inverted import WORTH, Inverted, cells_of

GENERATOR = torch.Generator().manual_seed(0)
MEANS, ALONG = torch.randn(100, 64, generator=GENERATOR), torch.randn(8, 64, generator=GENERATOR)


def drawn(count: int) -> Tensor:
    """Operating states, spread along the same few directions."""
    spread = 0.3 * torch.randn(count, 8, generator=GENERATOR) @ ALONG
    noise = 0.1 * torch.randn(count, 64, generator=GENERATOR)
    return MEANS[torch.randint(100, (count,), generator=GENERATOR)] + spread + noise


ROWS, ASKED = drawn(12_000), drawn(400)
SOURCE = torch.zeros(len(ROWS), dtype=torch.bool)


def both(k: int = 1, metric: Metric = "cosine", **options: object) -> tuple[NeighboursScorer, NeighboursScorer]:
    exact = NeighboursScorer(k, metric, **{key: one for key, one in options.items() if key == "banks"})  # type: ignore[arg-type]
    return exact, NeighboursScorer(k, metric, index="approximate", **{"probes": 16, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 4])
def test_nearly_all_neighbours_are_found_and_none_is_nearer_than_it_is(k: int, metric: Metric) -> None:
    exact, ours = (one.fit(ROWS, SOURCE)(ASKED) for one in both(k, metric))
    assert bool((ours >= exact - 1e-5).all())
    assert float((ours <= exact + 1e-5).float().mean()) >= 0.98


def test_more_cells_find_what_fewer_miss() -> None:
    exact = NeighboursScorer().fit(ROWS, SOURCE)(ASKED)
    missed = []
    for probes in (1, 4, 1000):
        ours = NeighboursScorer(index="approximate", probes=probes).fit(ROWS, SOURCE)(ASKED)
        missed.append(float((ours > exact + 1e-5).float().mean()))
    assert missed[0] > missed[1] >= missed[2] == 0


def test_few_clips_are_compared_one_by_one() -> None:
    rows = ROWS[: WORTH - 1]
    exact, ours = (one.fit(rows, SOURCE[: len(rows)]) for one in both(3))
    assert torch.equal(exact(ASKED), ours(ASKED)) and exact.state_dict().keys() == ours.state_dict().keys()
    # Also where there were many before.
    again = both(3)[1].fit(ROWS, SOURCE).fit(rows, SOURCE[: len(rows)])
    assert torch.equal(again(ASKED), exact(ASKED))


def test_the_few_clips_of_the_target_domain_are_all_compared() -> None:
    target = torch.arange(len(ROWS)) % 1000 == 0
    exact, ours = (one.fit(ROWS, target) for one in both(banks="domains"))
    near = ROWS[target][:5] + 1e-3
    assert torch.equal(ours(near), exact(near))
    assert len(ours.cells) == int((~target).sum())


def test_clips_are_held_out_with_their_recording() -> None:
    recording = torch.arange(len(ROWS)) // 40
    rows = ROWS.clone()
    rows[:40] = rows[0] + 1e-3 * torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    exact, ours = (one.held_out(rows, SOURCE, recording) for one in both())
    assert bool((ours >= exact - 1e-5).all())
    assert float((ours <= exact + 1e-5).float().mean()) >= 0.98
    # All that the cells hold of them are clips of their own recording.
    assert torch.allclose(ours[:40], exact[:40], atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_clips_are_held_out_with_their_block_by_cells_alone(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of whole operating states, so that all that lies nearest is of the clip's own."""
    rows = ROWS[:5000]
    block = torch.cdist(rows, MEANS).argmin(1) % 8
    expected, ours = both(k, probes=32)
    exact = expected.held_out(rows, SOURCE[:5000], block)
    one_by_one: list[int] = []

    def watched(queries: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        one_by_one.append(len(queries))
        return nearest(queries, *others)

    monkeypatch.setattr(neighbours, "nearest", watched)
    found = ours.held_out(rows, SOURCE[:5000], block)
    assert sum(one_by_one) < 50
    assert bool((found >= exact - 1e-5).all())
    assert float((found <= exact + 1e-5).float().mean()) >= 0.95


def test_a_checkpoint_holds_tensors_alone_and_gives_the_same_scores() -> None:
    fitted = both(2)[1].fit(ROWS, SOURCE)
    expected = fitted(ASKED)
    state = fitted.state_dict()
    assert {"references", "target", "centres", "cells", "fitted"} == state.keys()
    loaded = both(2)[1]
    loaded.load_state_dict(state)
    assert torch.equal(loaded(ASKED), expected)
    assert torch.equal(copy.deepcopy(fitted)(ASKED), expected)
    assert both()[1].fit(ROWS, SOURCE).cells.equal(both()[1].fit(ROWS, SOURCE).cells)


@pytest.mark.parametrize("broken", [-1, 10**6])
def test_cells_of_a_forged_checkpoint_are_refused(broken: int) -> None:
    fitted = both()[1].fit(ROWS, SOURCE)
    fitted.cells[3] = broken
    with pytest.raises(UserError, match="the cells of a NeighboursScorer are broken; give a checkpoint"):
        fitted(ASKED)
    centres, cells = cells_of(ROWS)
    for parts in ((ROWS[:-1], centres, cells), (ROWS, centres[:, 1:], cells), (ROWS, centres, cells.float())):
        with pytest.raises(UserError, match="the cells of a NeighboursScorer are broken"):
            Inverted(*parts, probes=1)


def test_an_exported_model_compares_with_every_clip() -> None:
    exact, ours = (one.fit(ROWS, SOURCE).eval() for one in both())
    exported = torch.export.export(ours, (ASKED,)).module()
    assert torch.equal(exported(ASKED), exact(ASKED))


def test_no_query_and_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert both()[1].fit(ROWS, SOURCE)(ASKED[:0]).shape == (0,)
    with pytest.raises(UserError, match="give an index of exact, approximate and probes of 1 or more"):
        NeighboursScorer(index="fast")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="probes 0"):
        NeighboursScorer(probes=0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"index approximate needs one more package: pip install 'asd-zoo\[index\]'"):
        NeighboursScorer(index="approximate")


def test_distances_are_those_of_the_rows_themselves() -> None:
    rows = placed(ROWS, "euclidean")
    found, at = Inverted(rows, *cells_of(rows), probes=1000).nearest(placed(ASKED, "euclidean"), 5, "euclidean")
    expected, same = nearest(placed(ASKED, "euclidean"), rows, 5, "euclidean")
    assert torch.allclose(found, expected, atol=1e-5) and bool((at == same).float().mean() > 0.99)
