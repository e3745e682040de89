"""Rows of a data set that processes compute in parts: kept as they come, gathered whole and once each."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from asd.data.datamodule import ClipDataModule
from asd.encoders.adapter import Adapter
from asd.errors import UserError
from asd.evaluation.embedding_store import Stored
from asd.training import distributed


class Rows:
    """Rows of several kinds, each in the place of the clip that it is of; once, however many there are.

    Args:
        width: Length of a row, for kinds of which no process has one and that have no width of their own.
        clips: Reference and query clips; kinds are named after these, or belong to the reference clips.
        folder: Where a kind of a gigabyte and more lies in a file, so that memory need not hold it; it has no name, and
            goes with the rows. ``None``, and where the system cannot set room aside: in memory.
        most: How many numbers of a kind are held in memory.
    """

    def __init__(
        self, width: int, clips: tuple[int, int] = (0, 0), folder: Path | None = None, most: int = 2**28
    ) -> None:
        self.width = width
        self._clips = clips
        self._folder = folder if hasattr(os, "posix_fallocate") else None
        self._most = most
        self._held: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(cls, adapter: Adapter, data: ClipDataModule, folder: Path | None = None) -> Self:
        """For the embeddings that are scored of the clips of `data`."""
        return cls(adapter.scored_dim, (len(data.reference_clips), len(data.query_clips)), folder)

    def _empty(self, kind: str, *shape: int) -> tuple[Tensor, Tensor]:
        clips = self._clips[kind.startswith("query")]
        there = torch.zeros(clips, dtype=torch.bool)
        if self._folder is None or math.prod((clips, *shape)) <= self._most:
            return torch.empty(clips, *shape), there
        return _in_a_file(self._folder, (clips, *shape)), there

    def add(self, kind: str, index: Tensor, rows: Tensor) -> None:
        """Keep rows ``(B, D)`` of the clips ``(B,)``, on the CPU; the first of a clip counts."""
        if kind not in self._held:
            self._held[kind] = self._empty(kind, *rows.shape[1:])
        values, there = self._held[kind]
        index = index.cpu()
        fresh = ~there[index]
        values[index[fresh]] = rows.cpu()[fresh]
        there[index] = True

    def gathered(self, kind: str, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Clips ``(N,)`` in order and their rows ``(N, D)`` of all processes; a clip seen twice is there once.

        Every process must ask, in the same order.

        Args:
            kind: Which rows.
            width: Their length, where it is another than that of the others.
        """
        own = self._held.get(kind)
        widths = [one for one in distributed.gather(None if own is None else own[0].shape[1]) if one is not None]
        width = next(iter(widths), self.width if width is None else width)
        values, there = self._empty(kind, width) if own is None else own
        distributed.fill_rows(values, there)
        self._held[kind] = values, there
        index = torch.nonzero(there).flatten()
        return index, values if len(index) == len(values) else values[index]


def _in_a_file(folder: Path, shape: tuple[int, ...]) -> Tensor:
    size = 4 * math.prod(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # or a disk that is full later ends the process
            return torch.frombuffer(mmap.mmap(file.fileno(), size), dtype=torch.float32).view(shape)
    except OSError as error:
        raise UserError(
            f"{folder}: no room for {size / 1e9:.1f} GB of embeddings ({error.strerror}); free space or choose another "
            "outputs.folder"
        ) from error


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
