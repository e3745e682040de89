"""Nearest neighbours among the normal embeddings."""

from __future__ import annotations

from typing import Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import ReferenceScorer
from asd.scoring.distances import Metric, check_metric, nearest, placed

Banks = Literal["one", "domains"]


class NeighboursScorer(ReferenceScorer):
    """Mean distance to the k nearest normal clips.

    Args:
        k: Number of neighbours; fewer where there are fewer clips.
        metric: One minus the cosine, or the Euclidean distance.
        banks: All clips in one bank, or source and target clips in a bank each, of which the smaller distance counts:
            with more than one neighbour, the few target clips are not outvoted.
    """

    references: Tensor
    target: Tensor

    def __init__(self, k: int = 1, metric: Metric = "cosine", banks: Banks = "one") -> None:
        super().__init__()
        check_metric(metric, "NeighboursScorer")
        if k < 1 or banks not in get_args(Banks):
            raise UserError(
                f"NeighboursScorer: k is {k} and banks {banks!r}; give k of 1 or more and banks of "
                f"{', '.join(get_args(Banks))}"
            )
        self.k = k
        self.metric = metric
        self.banks = banks

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Keep the normal clips."""
        self.check_reference(embeddings)
        self.check_number("k", self.k, len(embeddings))
        self.remember(references=placed(embeddings, self.metric), target=target.bool().to(embeddings.device))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the mean distances ``(B,)`` to the nearest clips."""
        self.check_fitted()
        queries = placed(embeddings, self.metric)
        return torch.stack([nearest(queries, bank, self.k, self.metric)[0].mean(1) for bank in self._parts()]).amin(0)

    def _parts(self) -> list[Tensor]:
        if self.banks == "one":
            return [self.references]
        return [part for part in (self.references[~self.target], self.references[self.target]) if len(part)]

    def held_out(self, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """Each clip against the clips of all other recordings, without folds."""
        rows = placed(embeddings, self.metric)
        parts = [torch.ones_like(target)] if self.banks == "one" else [~target, target]
        scores = torch.full((len(rows),), torch.inf, device=rows.device)
        for part in parts:
            if not bool(part.any()):
                continue
            away = nearest(rows, rows[part], self.k, self.metric, (group, group[part]))[0]
            known = away.isfinite()
            mean = away.where(known, 0).sum(1) / known.sum(1)
            scores = torch.minimum(scores, mean.nan_to_num(torch.inf))
        lonely = scores.isinf()
        if bool(lonely.any()):  # a single recording: there is nothing to hold out
            scores[lonely] = type(self)(self.k, self.metric, self.banks).fit(embeddings, target)(embeddings[lonely])
        return scores
