"""Rows of a data set that processes compute in parts: kept as they come, gathered whole and once each."""

from __future__ import annotations

import torch
from torch import Tensor

from asd.training import distributed


class Rows:
    """Rows of several kinds, each with the number of the clip it is of.

    Args:
        width: Length of a row, for kinds of which this process has none.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def add(self, kind: str, index: Tensor, rows: Tensor) -> None:
        """Keep rows ``(B, D)`` of the clips ``(B,)``, on the CPU."""
        self._parts.setdefault(kind, []).append((index.cpu(), rows.cpu()))

    def gathered(self, kind: str) -> tuple[Tensor, Tensor]:
        """Clips ``(N,)`` in order and their rows ``(N, D)`` of all processes; a clip seen twice is there once.

        Every process must ask, in the same order.
        """
        parts = self._parts.get(kind, [])
        index = torch.cat([part[0] for part in parts]) if parts else torch.empty(0, dtype=torch.int64)
        rows = torch.cat([part[1] for part in parts]) if parts else torch.empty(0, self.width)
        return distributed.gather_rows(index, rows)
