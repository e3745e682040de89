"""Rows of every process of a run, for what must be the same in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def hosts() -> Any:
    """The group in which the processes exchange tensors of the CPU, whatever their devices; every process has to ask.

    What goes through it waits for the other processes, and for no device.
    """
    return _hosts(dist.group.WORLD)


@cache
def _hosts(world: Any) -> Any:
    return world if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def rows_of_all(rows: Tensor) -> Tensor:
    """``(n, ...)`` of this process to ``(N, ...)`` of all, by rank; in a single process as they are.

    Every process has to ask. ``n`` may differ between them, down to none. No gradient flows back.
    """
    if count() == 1:
        return rows.detach()
    own = dist.get_rank()
    lengths = torch.zeros(count(), dtype=torch.int64)
    lengths[own] = len(rows)
    # Sums with the zeros of the others: of the collectives, that is the one of every backend on every device.
    dist.all_reduce(lengths, group=hosts())
    every = rows.new_zeros(count(), int(lengths.max()), *rows.shape[1:])
    every[own, : len(rows)] = rows.detach()
    dist.all_reduce(every)
    return torch.cat([part[:length] for part, length in zip(every, lengths.tolist(), strict=True)])


def chunks_of(rank: int, rows: Tensor, index: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Some rows of one process on all processes, a few at a time; every process has to ask.

    Args:
        rank: The process.
        rows: ``(N, E)`` on the CPU, of which this process has those of `index` if it is that one.
        index: ``(n,)`` int64, the same on every process.
        size: Rows at a time.

    Yields:
        Parts of `index` and their rows ``(size, E)``.
    """
    for part in index.split(size):
        sent = rows[part] if dist.get_rank() == rank else rows.new_empty(len(part), *rows.shape[1:])
        dist.broadcast(sent, src=rank, group=hosts())
        yield part, sent
