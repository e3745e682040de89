"""Rows of many clips, a few megabytes at a time: they may lie in a file that is larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

MANY = 2**23
"""Numbers above which rows are not copied and not scored as a whole, 32 MB. Up to there what comes of them is, to the
last bit, what comes of all at once."""
_AT_ONCE = 2**20


def are_many(rows: Tensor, count: int | None = None) -> bool:
    """Whether so many of the rows ``(N, E)``, or all, are to be taken in parts."""
    return (len(rows) if count is None else count) * rows[:1].numel() > MANY


def parts(rows: Tensor, index: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """The rows ``(N, E)``, or those of the numbers ``(n,)``, some at a time: where they stand among them, and they."""
    size = max(1, _AT_ONCE // max(1, rows[:1].numel()))
    for at in range(0, len(rows) if index is None else len(index), size):
        place = slice(at, at + size)
        yield place, rows[place] if index is None else rows[index[place].to(rows.device)]


def of_each(rows: Tensor, found: Callable[[Tensor], Tensor], index: Tensor | None = None) -> Tensor:
    """What is found of the rows, or of those of the numbers ``(n,)``: ``(n, E)`` to ``(n,)`` float32."""
    count = len(rows) if index is None else len(index)
    if not are_many(rows, count):
        return found(rows if index is None else rows[index]).float()
    # Not put together at the end: small results among large ones leave holes in memory that nothing fits.
    values = torch.empty(count, device=rows.device)
    for place, some in parts(rows, index):
        values[place] = found(some)
    return values


def of_each_on(
    device: torch.device, rows: Tensor, found: Callable[[Tensor], Tensor], index: Tensor | None = None
) -> Tensor:
    """The same, found on a device, to which the rows are brought; the result lies where they do."""
    return of_each(rows, lambda some: found(some.to(device)).to(some.device), index)


def are_finite(rows: Tensor) -> Tensor:
    """``(N,)`` bool: whether all numbers of a row are finite."""
    finite = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
    for place, some in parts(rows):
        finite[place] = some.isfinite().all(1)
    return finite


def section(rows: Tensor, index: Tensor) -> Tensor:
    """The rows of the numbers ``(n,)``, ascending: a copy, but of many that lie together the rows themselves."""
    if are_many(rows, len(index)) and int(index[-1]) - int(index[0]) == len(index) - 1:
        return rows[int(index[0]) : int(index[-1]) + 1]
    return rows[index]
