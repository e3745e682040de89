"""Rows that several processes compute: whole on each of them, and in memory once."""

from __future__ import annotations

import errno
import os
import resource
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asd.errors import UserError
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


def test_many_rows_lie_in_a_file_without_a_name(tmp_path: Path) -> None:
    held = Rows(3, (5, 2), tmp_path / "new", most=6)
    held.add("query", torch.arange(2), torch.ones(2, 3))
    assert not (tmp_path / "new").exists()
    held.add("reference", torch.tensor([4, 0]), torch.arange(6.0).view(2, 3))
    held.add("reference", torch.arange(5), torch.full((5, 3), 9.0))
    index, rows = held.gathered("reference")
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert rows.tolist() == [[3, 4, 5], [9, 9, 9], [9, 9, 9], [9, 9, 9], [0, 1, 2]]
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="rows are in memory there")
def test_a_disk_without_room_is_told_at_the_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    held = Rows(250_000, (4000, 2), tmp_path, most=6)
    with pytest.raises(UserError, match=r"no room for 4\.0 GB of embeddings \(No space left on device\); free space"):
        held.add("reference", torch.tensor([0]), torch.ones(1, 250_000))
    assert list(tmp_path.iterdir()) == []
