"""Scores in parts of what is usual in the domain that a clip is like."""

from __future__ import annotations

import copy
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import Scorer, own_recordings
from asd.scoring.distances import nearest, placed
from asd.scoring.neighbours import NeighboursScorer
from asd.scoring.quantiles import quantile

Assignment = Literal["soft", "hard"]


class MedianScaled(Scorer):
    """Divides a score by the median of the held-out scores of the normal clips of a domain.

    Which domain a clip is of is not known when it is scored. ``hard`` takes that of the nearest normal clip, by the
    cosine; ``soft`` weighs both by the softmax of the negative distances to their nearest clips, in units of the median
    distance from a normal clip to the nearest one of another recording.

    Args:
        scorer: What is scaled, fitted on the clips of both domains; ``None``: the nearest neighbour.
        assignment: ``soft`` or ``hard``.
    """

    source: Tensor
    target: Tensor
    medians: Tensor
    temperature: Tensor

    def __init__(self, scorer: Scorer | None = None, assignment: Assignment = "soft") -> None:
        super().__init__()
        if assignment not in get_args(Assignment):
            raise UserError(f"MedianScaled: assignment is {assignment!r}; choose soft or hard")
        self.scorer = NeighboursScorer() if scorer is None else copy.deepcopy(scorer)
        self.assignment = assignment

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the scorer, and take the median of the held-out scores of each domain."""
        self.check_reference(embeddings)
        group = own_recordings(embeddings) if group is None else group
        held_out = self.scorer.held_out(embeddings, target, group)
        if bool((held_out < 0).any()):
            raise UserError(
                f"MedianScaled: {type(self.scorer).__name__} gives negative scores, whose ratios mean nothing; use "
                "Standardised"
            )
        self.scorer.fit(embeddings, target, group)
        rows = placed(embeddings, "cosine")
        flags = target.bool().to(rows.device)
        usual = _above_zero(quantile(held_out, 0.5), 1.0)
        medians = [quantile(held_out[part], 0.5) if bool(part.any()) else usual for part in (~flags, flags)]
        away = nearest(rows, rows, 1, "cosine", (group, group))[0][:, 0]
        apart = away[away.isfinite()]
        self.remember(
            source=rows[~flags],
            target=rows[flags],
            medians=torch.stack([_above_zero(one, 1e-3 * usual) for one in medians]),
            temperature=_above_zero(quantile(apart, 0.5) if len(apart) else usual, 1.0),
        )
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to scaled scores ``(B,)``."""
        self.check_fitted()
        scores: Tensor = self.scorer(embeddings)
        # By shape, which an exported graph knows.
        if not self.source.shape[0] or not self.target.shape[0]:
            return scores / self.medians[0]
        rows = placed(embeddings, "cosine")
        away = torch.cat([nearest(rows, bank, 1, "cosine")[0] for bank in (self.source, self.target)], 1)
        if self.assignment == "hard":
            return scores / torch.where(away[:, 1] < away[:, 0], self.medians[1], self.medians[0])
        return scores * ((-away / self.temperature).softmax(1) / self.medians).sum(1)


def _above_zero(value: Tensor, otherwise: Tensor | float) -> Tensor:
    """The value, or what counts where it is zero, as for identical clips."""
    return torch.where(value > 0, value, otherwise)
