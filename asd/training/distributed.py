"""Collectives over the processes of a run; each is the identity in a single process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asd.utils.ranks import chunks_of, hosts

_CHUNK = 2**20
"""Numbers that are sent at a time."""

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


def fill_rows(rows: Tensor, there: Tensor) -> None:
    """Write into `rows` those of all ranks, a few megabytes at a time: there is no second copy of them anywhere.

    A distributed sampler pads with repeats, so a row is that of the first rank that has it: centres and metrics do not
    depend on the number of processes.

    Args:
        rows: ``(N, E)`` on the CPU.
        there: ``(N,)`` bool, which of them this rank has; in the end, which any rank has.
    """
    if world_size() == 1:
        return
    each = gather(torch.nonzero(there).flatten())
    there.zero_()
    size = max(1, _CHUNK // max(1, rows[:1].numel()))
    for source, index in enumerate(each):
        fresh = index[~there[index]]
        for part, sent in chunks_of(source, rows, fresh, size):
            rows[part] = sent
        there[fresh] = True


def shared_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rank zero's `state` of a module on every rank, a few megabytes at a time: no rank has a second copy of it.

    Args:
        state: Only that of rank zero counts. Its tensors stay its own; those of the others are new, and on the CPU.
    """
    if world_size() == 1:
        return state
    # Tensors without values say how large they are.
    empty = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in state.items()}
    shared = broadcast(empty)
    for name, value in shared.items():
        if isinstance(value, Tensor):
            shared[name] = state[name] if rank() == 0 else torch.empty(value.shape, dtype=value.dtype)
            sent = shared[name].detach().cpu().reshape(-1).view(torch.uint8)  # some kinds of numbers cannot be sent
            for at in range(0, len(sent), 4 * _CHUNK):
                dist.broadcast(sent[at : at + 4 * _CHUNK], src=0, group=hosts())
    return shared


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
