"""Rows that several processes compute: whole on each of them, and in memory once."""

from __future__ import annotations

import resource
import sys

import pytest
import torch
from torch import Tensor

from asd.training.collect import Rows
from tests.ranks import in_ranks

CLIPS, WIDTH = 100_000, 256
OF = {0: torch.arange(0, CLIPS, 2), 1: torch.cat([torch.arange(1, CLIPS, 2), torch.arange(4)])}
"""Which clips each process has; the second has some of the first, as a distributed sampler repeats them."""


def gathered_in_rank(rank: int, width: int) -> tuple[int, Tensor, Tensor, Tensor]:
    """How many bytes were needed, and what was gathered: all rows, those of a few clips, and those of one process."""
    first = Rows(width, (1, 0))  # what the first exchange of a process takes once, however many rows there are
    first.add("reference", torch.zeros(1, dtype=torch.int64), torch.ones(1, width))
    first.gathered("reference")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = Rows(width, (CLIPS, 10))
    for index in OF[rank].split(64):
        held.add("reference", index, (100_000 * rank + index)[:, None].float().expand(-1, width))
    index, rows = held.gathered("reference")
    needed = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert torch.equal(index, torch.arange(CLIPS))
    assert bool((rows == rows[:, :1]).all())
    held.add("query", torch.tensor([[3, 1], [1, 7]][rank]), torch.full((2, width), float(rank)))
    few, values = held.gathered("query")
    if rank == 1:
        held.add("query other", torch.tensor([2]), torch.ones(1, 3))
    return needed, rows[:, 0], torch.stack([few.float(), values[:, 0]]), held.gathered("query other")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units")
def test_rows_come_together_on_every_process_and_lie_in_memory_once() -> None:
    expected = torch.arange(CLIPS).float()
    expected[1::2] += 100_000
    for needed, rows, few, other in in_ranks(gathered_in_rank, WIDTH):
        assert torch.equal(rows, expected)
        assert few.tolist() == [[1, 3, 7], [0, 0, 1]]  # of the first process that has them
        assert torch.equal(other, torch.ones(1, 3))
        assert needed < 1.8 * 4 * CLIPS * WIDTH, f"{needed / 1e6:.0f} MB for {4 * CLIPS * WIDTH / 1e6:.0f} MB of rows"
