"""Collectives over the processes of a run; each is the identity in a single process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from zero."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def broadcast(value: T) -> T:
    """Rank zero's `value` on every rank."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    result: T = box[0]
    return result


def gather(value: T) -> list[T]:
    """Every rank's `value`, by rank."""
    if world_size() == 1:
        return [value]
    boxes: list[Any] = [None] * world_size()
    dist.all_gather_object(boxes, value)
    return boxes


def gather_rows(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """All ranks' rows, sorted by index, repeats dropped.

    A distributed sampler pads with repeats, so a row counts once however many ranks saw it: centres and metrics do not
    depend on the number of processes.

    Args:
        index: ``(n,)`` int64 row numbers, on the CPU.
        rows: ``(n, E)`` on the CPU.

    Returns:
        ``(N,)`` and ``(N, E)``.
    """
    parts = gather((index, rows))
    every = torch.cat([part[0] for part in parts])
    order = every.unique(return_inverse=True)
    first = torch.full((len(order[0]),), len(every), dtype=torch.int64)
    first.scatter_reduce_(0, order[1], torch.arange(len(every)), "amin")
    return order[0], torch.cat([part[1] for part in parts])[first]


def total(value: Tensor) -> Tensor:
    """The sum of `value`, on the CPU, over the ranks."""
    # Gathered as objects: collectives of GPUs take no tensors of the CPU.
    return torch.stack(gather(value)).sum(0)


def share_buffers(modules: Iterable[nn.Module]) -> None:
    """Give every rank the buffers of rank zero: running statistics drift apart within a step."""
    if world_size() > 1:
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)
