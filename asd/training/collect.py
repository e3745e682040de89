"""Rows of a data set that processes compute in parts: kept as they come, gathered whole and once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from asd.encoders.adapter import Adapter
from asd.evaluation.embedding_store import Stored
from asd.training import distributed


class Rows:
    """Rows of several kinds, each with the number of the clip it is of.

    Args:
        width: Length of a row, for kinds of which this process has none and that have no width of their own.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def add(self, kind: str, index: Tensor, rows: Tensor) -> None:
        """Keep rows ``(B, D)`` of the clips ``(B,)``, on the CPU."""
        self._parts.setdefault(kind, []).append((index.cpu(), rows.cpu()))

    def gathered(self, kind: str, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Clips ``(N,)`` in order and their rows ``(N, D)`` of all processes; a clip seen twice is there once.

        Every process must ask, in the same order.

        Args:
            kind: Which rows.
            width: Their length, where it is another than that of the others.
        """
        parts = self._parts.get(kind, [])
        index = torch.cat([part[0] for part in parts]) if parts else torch.empty(0, dtype=torch.int64)
        width = self.width if width is None else width
        rows = torch.cat([part[1] for part in parts]) if parts else torch.empty(0, width)
        return distributed.gather_rows(index, rows)


def add_others(rows: Rows, kind: str, index: Tensor, features: Tensor, adapter: Adapter, names: Sequence[str]) -> None:
    """Keep other vectors than the one that is scored of the clips ``(B,)``, from their features ``(B, L, F, D)``."""
    for name in names:
        rows.add(f"{kind} {name}", index, adapter.embed(features, name).float())


def with_others(
    stored: Stored, rows: Rows, kind: str, adapter: Adapter, names: Sequence[str], origin: Mapping[str, Any]
) -> Stored:
    """What is stored of a kind of clips, with their origin and what `add_others` kept; every process must ask."""
    sizes = {name: adapter.size_of(name) for name in names}
    return replace(
        stored,
        origin=origin,
        others={name: (rows.gathered(f"{kind} {name}", width)[1], bands) for name, (width, bands) in sizes.items()},
    )
