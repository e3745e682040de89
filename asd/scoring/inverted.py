"""Approximate neighbours of many embeddings: cells around centres, of which a query looks into the nearest few."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asd.errors import UserError
from asd.scoring.distances import Metric, distances

WORTH = 4096
"""Rows from which on cells are worth it; fewer are compared one by one."""

_ROUNDS = 10
_ROWS_A_CELL = 40
_AT_ONCE = 65_536
_QUERIES = 1024
_MORE = 16
"""Candidates beside the neighbours asked for: what lies nearest among them is told by exact distances."""


def check_installed(asker: str) -> None:
    """Raise `UserError` where the library is not there."""
    if importlib.util.find_spec("faiss") is None:
        raise UserError(f"{asker}: index approximate needs one more package: pip install 'asd-zoo[index]'")


def cells_of(rows: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Centres ``(C, E)`` of rows ``(N, E)``, a cell for each root of them, and the cell ``(N,)`` int32 of each row."""
    import faiss

    count = round(math.sqrt(len(rows)))
    some = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[: _ROWS_A_CELL * count]
    faiss.omp_set_num_threads(torch.get_num_threads())
    means = faiss.Kmeans(rows.shape[1], count, niter=_ROUNDS, seed=seed, min_points_per_centroid=1)
    means.train(_array(rows[some]))
    found = [torch.from_numpy(means.assign(_array(part))[1]).int() for part in rows.split(_AT_ONCE)]
    return torch.from_numpy(np.array(means.centroids, np.float32)), torch.cat(found)


class Inverted:
    """Rows in their cells, a byte for each number; what is found is compared with the rows themselves.

    It follows from what a checkpoint holds, so it is made when it is first asked.

    Args:
        rows: ``(N, E)``, as `asd.scoring.distances.placed` has them.
        centres: ``(C, E)`` of the cells.
        cells: ``(N,)`` the cell of each row.
        probes: How many cells a query looks into.

    Raises:
        UserError: Centres and cells that do not belong to the rows.
    """

    def __init__(self, rows: Tensor, centres: Tensor, cells: Tensor, probes: int) -> None:
        import faiss

        width, count = rows.shape[1], len(centres)
        fits = cells.shape == rows.shape[:1] and centres.shape == (count, width) and len(cells) > 0
        if not fits or cells.is_floating_point() or not 0 <= int(cells.min()) <= int(cells.max()) < count:
            raise UserError("the cells of a NeighboursScorer are broken; give a checkpoint that `asd fit` wrote")
        self._rows = rows
        self._coarse = faiss.IndexFlatL2(width)
        self._coarse.add(_array(centres))
        self._index: Any = faiss.IndexIVFScalarQuantizer(self._coarse, width, count, faiss.ScalarQuantizer.QT_8bit)
        self._index.nprobe = min(probes, count)
        step = max(1, len(rows) // (_ROWS_A_CELL * count))
        self._index.train(_array(rows[::step]))
        for at in range(0, len(rows), _AT_ONCE):
            part = _array(rows[at : at + _AT_ONCE])
            own = np.ascontiguousarray(cells[at : at + _AT_ONCE].cpu().numpy().astype(np.int64))
            self._index.add_core(len(part), faiss.swig_ptr(part), None, faiss.swig_ptr(own))

    def nearest(
        self, queries: Tensor, k: int, metric: Metric, groups: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Distances ``(B, k)``, ascending, of queries ``(B, E)`` to what was found, and the rows ``(B, k)``.

        Distances are infinite where fewer were found; `groups` as for `asd.scoring.distances.nearest`.
        """
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        nearest = queries.new_empty(len(queries), k)
        found = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
        for numbers, bits in _together(len(queries), len(self._rows), groups):
            chosen = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            options: Any = faiss.SearchParametersIVF()
            options.nprobe, options.sel = self._index.nprobe, chosen
            for some in numbers.to(queries.device).split(_QUERIES):
                asked = queries[some]
                candidates = self._index.search(_array(asked), k + _MORE, params=options)[1]
                rows = torch.from_numpy(candidates).to(queries.device)
                away = distances(asked[:, None], self._rows[rows.clamp_min(0)], metric)[:, 0]
                out = rows < 0
                if groups is not None:
                    out |= groups[0][some, None] == groups[1][rows.clamp_min(0)]
                away, order = away.masked_fill(out, torch.inf).sort(dim=1, stable=True)
                nearest[some], found[some] = away[:, :k], rows.gather(1, order)[:, :k]
        return nearest, found


def _together(
    queries: int, rows: int, groups: tuple[Tensor, Tensor] | None
) -> Iterator[tuple[Tensor, NDArray[np.uint8] | None]]:
    """Numbers ``(n,)`` of queries that are searched together, and among which rows, a bit each; ``None``: among all.

    The candidates of a query may all be of its own group where that is large: it is then searched without its rows.
    """
    if groups is None:
        yield torch.arange(queries), None
        return
    own = torch.cat(groups).cpu().unique(return_inverse=True)[1]
    asked, known = own[:queries], own[queries:]
    sizes = known.bincount(minlength=int(own.max()) + 1)
    yield torch.nonzero(sizes[asked] <= _MORE).flatten(), None
    bits = np.packbits(np.ones(rows, bool), bitorder="little")
    asked_of = asked.argsort(stable=True).split(asked.bincount(minlength=len(sizes)).tolist())
    rows_of = known.argsort(stable=True).split(sizes.tolist())
    for numbers, left_out in zip(asked_of, rows_of, strict=True):
        if len(numbers) and len(left_out) > _MORE:
            flipped = left_out.numpy() >> 3, (1 << (left_out.numpy() & 7)).astype(np.uint8)
            np.bitwise_xor.at(bits, *flipped)
            yield numbers, bits
            np.bitwise_xor.at(bits, *flipped)


def _array(rows: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows.detach().cpu().numpy(), np.float32)
