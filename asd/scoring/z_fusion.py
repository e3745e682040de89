"""Fusion of back ends: each scores the whole embedding, and their scores are made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.scoring.base import Scorer
from asd.scoring.kmeans import KMeansScorer
from asd.scoring.normalise import LocalDensity, Standardised

Combination = Literal["mean", "minimum"]


class ZFusion(Scorer):
    """Mean or minimum of several scores, each standardised by its held-out scores of the normal clips.

    The minimum is Z-MIN (Zhou and Wang 2026, arXiv 2606.19269): a clip is normal where one of the back ends finds it
    normal. It needs no label, as the mean needs none.

    Args:
        scorers: The back ends, two or more; ``None``: K-means, and the nearest neighbour with `LocalDensity` in mode
            ``log_varmin``.
        combination: ``mean`` or ``minimum``.
    """

    def __init__(self, scorers: Sequence[Scorer] | None = None, combination: Combination = "mean") -> None:
        super().__init__()
        if combination not in get_args(Combination):
            raise UserError(f"ZFusion: combination is {combination!r}; choose mean or minimum")
        if scorers is not None and len(scorers) < 2:
            raise UserError(f"ZFusion: {len(scorers)} scorers are given; give two or more")
        wanted = [KMeansScorer(), LocalDensity(mode="log_varmin")] if scorers is None else scorers
        self.parts = nn.ModuleList(Standardised(one, by_domain=False) for one in wanted)
        self.combination = combination

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit every back end, and take mean and deviation of its held-out scores."""
        self.check_reference(embeddings)
        for part in self.parts:
            assert isinstance(part, Scorer)
            part.fit(embeddings, target, group)
        self.remember()
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to fused scores ``(B,)``, in standard deviations above the mean of the normal clips."""
        self.check_fitted()
        scores = torch.stack([part(embeddings) for part in self.parts])
        return scores.mean(0) if self.combination == "mean" else scores.amin(0)
