"""Each frequency band of the embedding scored by itself."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn

from asd.errors import Notice, UserError
from asd.scoring.base import Scorer
from asd.scoring.neighbours import NeighboursScorer


class BEAMScorer(Scorer):
    """Mean over frequency bands of a score of each: with neighbours, each band has a nearest reference of its own.

    So no single clip has to be like the query in all bands, and no loud band outweighs the others (BEAM, Saengthong et
    al. 2026, arXiv 2603.13749, which halves the cosine distance). With `LocalDensity` as the scorer, distances are
    normalised in each band before the mean.

    Args:
        scorer: Copied for each band; ``None``: the nearest neighbour.
        bands: How many bands of equal width lie side by side in the embedding, from low to high; ``None``: as many as
            what makes the embedding says, or a single one where it says nothing.
    """

    def __init__(self, scorer: Scorer | None = None, bands: int | None = None) -> None:
        super().__init__()
        if bands is not None and bands < 1:
            raise UserError(f"BEAMScorer: bands is {bands}; give 1 or more")
        self.scorer = NeighboursScorer() if scorer is None else copy.deepcopy(scorer)
        self.bands = bands
        self.parts = nn.ModuleList()
        self._told = 1

    def take_bands(self, bands: int) -> None:
        """Of how many bands the embeddings hold a vector each, unless `bands` was given."""
        self._told = bands

    def _split(self, embeddings: Tensor) -> tuple[Tensor, ...]:
        """``(B, R * D)`` to ``R`` times ``(B, D)``."""
        bands = self._told if self.bands is None else self.bands
        width, left = divmod(embeddings.shape[1], bands)
        if left or not width:
            raise UserError(
                f"BEAMScorer: embeddings of {embeddings.shape[1]} columns hold no {bands} bands of equal width; set "
                "bands to their number, or to null for what the embedding says"
            )
        parts: tuple[Tensor, ...] = embeddings.split(width, 1)
        return parts

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit a scorer on each band."""
        self.check_reference(embeddings)
        bands = self._split(embeddings)
        if len(bands) == 1 and self.bands is None:
            warnings.warn(
                "BEAMScorer: the embedding has a single band; score an embedding that keeps its bands, or set bands",
                Notice,
                stacklevel=2,
            )
        self.parts = nn.ModuleList(copy.deepcopy(self.scorer).fit(band, target, group) for band in bands)
        self.remember()
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, R * D)`` to the mean scores ``(B,)`` of the bands."""
        self.check_fitted()
        bands = embeddings.split(embeddings.shape[1] // len(self.parts), 1)
        return torch.stack([part(band) for part, band in zip(self.parts, bands, strict=True)]).mean(0)

    def held_out(self, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """As the scorer holds the clips of a recording out, in all bands."""
        return torch.stack([self.scorer.held_out(band, target, group) for band in self._split(embeddings)]).mean(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # How many bands there are is known from the fit alone.
        own = re.compile(rf"{re.escape(prefix)}parts\.(\d+)\.")
        bands = {int(match[1]) for match in map(own.match, state_dict) if match}
        self.parts = nn.ModuleList(copy.deepcopy(self.scorer) for _ in bands).to(self.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
