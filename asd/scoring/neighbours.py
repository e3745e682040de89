"""Nearest neighbours among the normal embeddings."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import ReferenceScorer
from asd.scoring.distances import Metric, check_metric, nearest, placed
from asd.scoring.inverted import WORTH, Inverted, cells_of, check_installed

Banks = Literal["one", "domains"]
Index = Literal["exact", "approximate"]


class NeighboursScorer(ReferenceScorer):
    """Mean distance to the k nearest normal clips.

    Args:
        k: Number of neighbours; fewer where there are fewer clips.
        metric: One minus the cosine, or the Euclidean distance.
        banks: All clips in one bank, or source and target clips in a bank each, of which the smaller distance counts:
            with more than one neighbour, the few target clips are not outvoted.
        index: Compare with every clip; or, of many thousands and more (with `banks` of ``domains``, of the source),
            with those in the nearest cells alone, by faiss. An exported model compares with every clip.
        probes: How many cells these are: the more, the fewer neighbours are missed, and the longer it takes.
    """

    references: Tensor
    target: Tensor
    centres: Tensor
    cells: Tensor
    _inverted: Inverted | None = None

    def __init__(
        self, k: int = 1, metric: Metric = "cosine", banks: Banks = "one", index: Index = "exact", probes: int = 64
    ) -> None:
        super().__init__()
        check_metric(metric, "NeighboursScorer")
        if k < 1 or banks not in get_args(Banks):
            raise UserError(
                f"NeighboursScorer: k is {k} and banks {banks!r}; give k of 1 or more and banks of "
                f"{', '.join(get_args(Banks))}"
            )
        if index not in get_args(Index) or probes < 1:
            raise UserError(
                f"NeighboursScorer: index is {index!r} and probes {probes}; give an index of "
                f"{', '.join(get_args(Index))} and probes of 1 or more"
            )
        if index == "approximate":
            check_installed("NeighboursScorer")
        self.k = k
        self.metric = metric
        self.banks = banks
        self.index = index
        self.probes = probes

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Keep the normal clips."""
        self.check_reference(embeddings)
        self.check_number("k", self.k, len(embeddings))
        references = placed(embeddings, self.metric)
        if references.data_ptr() == embeddings.data_ptr():
            references = references.clone()
        self.register_buffer("references", references)  # without the copy that `remember` makes
        self.remember(target=target.bool().to(embeddings.device))
        self._inverted = None
        for name in ("centres", "cells"):
            self._buffers.pop(name, None)
        first = self._parts()[0]
        if self.index == "approximate" and len(first) >= WORTH:
            centres, cells = cells_of(first)
            self.remember(centres=centres.to(embeddings.device), cells=cells.to(embeddings.device))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the mean distances ``(B,)`` to the nearest clips."""
        self.check_fitted()
        queries = placed(embeddings, self.metric)
        return torch.stack(
            [self._nearest(queries, number, bank).mean(1) for number, bank in enumerate(self._parts())]
        ).amin(0)

    def _parts(self) -> list[Tensor]:
        if self.banks == "one":
            return [self.references]
        return [part for part in (self.references[~self.target], self.references[self.target]) if len(part)]

    def _nearest(
        self, queries: Tensor, number: int, bank: Tensor, groups: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Distances ``(B, k)`` to the nearest clips of the bank of that number; infinite where there are fewer."""
        cells = self._buffers.get("cells")
        plain = self.index == "exact" or torch.compiler.is_exporting()
        if plain or number > 0 or cells is None or len(queries) == 0:
            return nearest(queries, bank, self.k, self.metric, groups)[0]
        if self._inverted is None:
            self._inverted = Inverted(bank, self.centres, cells, self.probes)
        away = self._inverted.nearest(queries, self.k, self.metric, groups)[0]
        # Where the cells hold too few, or those of the clip's own recording alone.
        lacking = away.isinf().any(1)
        if bool(lacking.any()):
            some = None if groups is None else (groups[0][lacking], groups[1])
            away[lacking] = nearest(queries[lacking], bank, self.k, self.metric, some)[0]
        return away

    def held_out(self, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """Each clip against the clips of all other recordings, without folds."""
        own = type(self)(self.k, self.metric, self.banks, self.index, self.probes)  # this one stays as it is
        if self.index == "approximate":
            own.fit(embeddings, target)
        rows = own.references if self.index == "approximate" else placed(embeddings, self.metric)
        domains = [part for part in (~target, target) if bool(part.any())]
        parts: list[slice | Tensor] = [slice(None)] if self.banks == "one" else [*domains]
        scores = torch.full((len(rows),), torch.inf, device=rows.device)
        for number, part in enumerate(parts):
            away = own._nearest(rows, number, rows[part], (group, group[part]))
            known = away.isfinite()
            mean = away.where(known, 0).sum(1) / known.sum(1)
            scores = torch.minimum(scores, mean.nan_to_num(torch.inf))
        lonely = scores.isinf()
        if bool(lonely.any()):  # a single recording: there is nothing to hold out
            scores[lonely] = own.fit(embeddings, target)(embeddings[lonely])
        return scores

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._inverted = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_inverted"}  # follows from the rest
