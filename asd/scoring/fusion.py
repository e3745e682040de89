"""Fusion of scores: each part of the embedding is scored by itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.scoring.base import Scorer, own_recordings
from asd.scoring.kmeans import KMeansScorer


class ScoreFusion(Scorer):
    """Mean of the scores of the parts of an embedding, such as those of several encoders side by side.

    Before the mean, the scores of a part are standardised by mean and deviation of its held-out scores of the normal
    clips, so that no part outweighs the others by the unit of its distance.

    Args:
        scorer: Copied for each part; ``None``: `KMeansScorer`.
        widths: Width of each part, in order; ``None``: two halves.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, scorer: Scorer | None = None, widths: Sequence[int] | None = None) -> None:
        super().__init__()
        if widths is not None and (len(widths) < 2 or min(widths) < 1):
            raise UserError(f"ScoreFusion: widths is {list(widths)}; give the width of two parts or more")
        self.widths = None if widths is None else list(widths)
        prototype = KMeansScorer() if scorer is None else scorer
        self.parts = nn.ModuleList(copy.deepcopy(prototype) for _ in self.widths or range(2))

    def take_bands(self, bands: int) -> None:
        """Bands are of the whole embedding, not of its parts."""

    def _split(self, embeddings: Tensor) -> list[tuple[Scorer, Tensor]]:
        width = embeddings.shape[1]
        widths = [width // 2, width - width // 2] if self.widths is None else self.widths
        if sum(widths) != width:
            raise UserError(
                f"ScoreFusion: the embedding has {width} columns, not {' + '.join(map(str, widths))}; set widths to "
                "those of the encoders, and model.adapter's embedding to pooled, which keeps them side by side"
            )
        return list(
            zip((part for part in self.parts if isinstance(part, Scorer)), embeddings.split(widths, 1), strict=True)
        )

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit every part on its columns."""
        self.check_reference(embeddings)
        group = own_recordings(embeddings) if group is None else group
        held_out = []
        for scorer, columns in self._split(embeddings):
            held_out.append(scorer.held_out(columns, target, group))
            scorer.fit(columns, target, group)
        scores = torch.stack(held_out)
        deviation = scores.std(1, correction=0).clamp_min(1e-12)
        self.remember(mean=scores.mean(1).to(embeddings.device), deviation=deviation.to(embeddings.device))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the mean standardised scores ``(B,)``."""
        self.check_fitted()
        scores = torch.stack([scorer(columns) for scorer, columns in self._split(embeddings)])
        return ((scores - self.mean[:, None]) / self.deviation[:, None]).mean(0)
