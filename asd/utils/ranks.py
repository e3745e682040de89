"""Rows of every process of a run, for what must be the same in all of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def rows_of_all(rows: Tensor) -> Tensor:
    """``(n, ...)`` of this process to ``(N, ...)`` of all, by rank; in a single process as they are.

    Every process has to ask. ``n`` may differ between them, down to none. No gradient flows back.
    """
    count = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if count == 1:
        return rows.detach()
    own = dist.get_rank()
    lengths = torch.zeros(count, dtype=torch.int64, device=rows.device)
    lengths[own] = len(rows)
    # Sums with the zeros of the others: of the collectives, that is the one of every backend on every device.
    dist.all_reduce(lengths)
    every = rows.new_zeros(count, int(lengths.max()), *rows.shape[1:])
    every[own, : len(rows)] = rows.detach()
    dist.all_reduce(every)
    return torch.cat([part[:length] for part, length in zip(every, lengths.tolist(), strict=True)])
