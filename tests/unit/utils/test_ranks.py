"""Rows of every process, whatever each of them has."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asd.utils.ranks import rows_of_all
from tests.ranks import in_ranks


def rows(rank: int, count: int) -> Tensor:
    own = torch.full((count, 2), float(rank))
    own[:1, 1] = -math.inf
    return own.requires_grad_()


COUNTS = [(3, 3), (3, 1), (0, 2), (0, 0)]


def found_in_rank(rank: int) -> list[Tensor]:
    return [rows_of_all(rows(rank, counts[rank])) for counts in COUNTS]


def test_rows_come_by_rank_however_many_each_has() -> None:
    expected = [torch.cat([rows(rank, count) for rank, count in enumerate(counts)]).detach() for counts in COUNTS]
    for found in in_ranks(found_in_rank):
        assert all(torch.equal(one, two) and not one.requires_grad for one, two in zip(found, expected, strict=True))


def test_a_single_process_has_its_own() -> None:
    assert torch.equal(rows_of_all(rows(0, 3)), rows(0, 3))
