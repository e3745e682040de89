"""Many rows are taken in parts, a few at once; either way the same comes of them."""

from __future__ import annotations

import pytest
import torch

from asd.errors import Notice, UserError
from asd.evaluation import back_ends
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.scoring import KMeansScorer, NeighboursScorer, Scorer, in_parts
from asd.scoring.blocks import BLOCKS, blocks_of
from asd.scoring.reference_bank import Bank

ROWS = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is many in parts of 7 rows."""
    monkeypatch.setattr(in_parts, "MANY", 100)
    monkeypatch.setattr(in_parts, "_AT_ONCE", 7 * 8)


def bank(rows: torch.Tensor, section: torch.Tensor) -> Bank:
    count = len(rows)
    return Bank(rows, section, torch.arange(count) % 5 == 0, torch.arange(count), torch.arange(count))


def test_every_row_is_taken_once(few: None) -> None:
    index = torch.arange(299, -1, -2)
    assert torch.equal(in_parts.of_each(ROWS, lambda some: some.sum(1)), ROWS.sum(1))
    assert torch.equal(in_parts.of_each(ROWS, lambda some: some.sum(1), index), ROWS[index].sum(1))
    assert max(len(some) for _, some in in_parts.parts(ROWS)) == 7
    assert in_parts.of_each(ROWS[:0], lambda some: some.sum(1)).shape == (0,)
    bad = ROWS.clone()
    bad[[3, 299], 2] = torch.nan
    assert torch.nonzero(~in_parts.are_finite(bad)).flatten().tolist() == [3, 299]


def test_many_rows_that_lie_together_are_no_copy(few: None) -> None:
    whole = bank(ROWS, torch.arange(300) // 150)
    assert whole.of(1).embeddings.data_ptr() == ROWS[150:].data_ptr()
    scattered = bank(ROWS, torch.arange(300) % 2)
    assert torch.equal(scattered.of(1).embeddings, ROWS[1::2])
    lone = bank(ROWS[:10], torch.arange(10) // 5)
    assert lone.of(1).embeddings.data_ptr() != ROWS[5:].data_ptr()


def test_banks_are_checked_in_parts(few: None) -> None:
    rows = ROWS.clone()
    rows[150:] = rows[150]
    with pytest.warns(Notice, match="b: the embeddings of all 150 normal clips are the same"):
        bank(rows, torch.arange(300) // 150).warn(["a", "b"])
    rows[299, 0] = torch.inf
    with pytest.raises(UserError, match="b: 1 of 150 embeddings of normal clips are not finite"):
        bank(rows, torch.arange(300) // 150).check(["a", "b"])


@pytest.mark.parametrize("each", [1, 3])
def test_blocks_of_many_clips_are_those_of_a_few(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    copy_of, kind = torch.arange(360) // each % BLOCKS, torch.arange(360) // each % 3
    rows = torch.ones(24) + torch.randn(BLOCKS, 24, generator=generator)[copy_of] + 20 * torch.eye(24)[kind]
    rows += 0.02 * torch.randn(360, 24, generator=generator)
    asked = rows, torch.arange(360) // each, torch.zeros(360, dtype=torch.bool), kind.tolist()
    exact = blocks_of(*asked)
    monkeypatch.setattr(in_parts, "MANY", 100)
    monkeypatch.setattr("asd.scoring.blocks._FEWEST", 60)
    monkeypatch.setattr("asd.scoring.blocks._SOME", 0)
    found = blocks_of(*asked)
    assert found.dtype == exact.dtype
    assert len(exact.unique()) == BLOCKS
    assert len({*zip(exact.tolist(), found.tolist(), strict=True)}) == BLOCKS
    assert found.unique().tolist() == list(range(BLOCKS))


@pytest.mark.parametrize(
    "scorer", [KMeansScorer(4), NeighboursScorer(2), NeighboursScorer(metric="euclidean", banks="domains")]
)
def test_stores_in_parts_are_scored_as_those_at_once(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [(f"{row}.wav", ("fan", "pump")[row // 150], ("source", "target")[row % 30 == 0]) for row in range(300)]
    clips = tuple(StoredClip(*one[:2], "00", one[2], "normal", "", f"{row // 40}") for row, one in enumerate(known))
    part = Stored(ROWS, clips, "a", 10.0)
    exact, limits = back_ends.decided(Store(part, part), scorer)
    monkeypatch.setattr(in_parts, "MANY", 100)
    monkeypatch.setattr(in_parts, "_AT_ONCE", 7 * 8)
    found, others = back_ends.decided(Store(part, part), scorer)
    assert [row.score for row in found] == pytest.approx([row.score for row in exact], abs=1e-6)
    assert torch.allclose(others.thresholds, limits.thresholds, rtol=1e-5)
    plain = back_ends.score(Store(part, part), scorer).rows
    assert [row.score for row in plain] == [row.score for row in found]
