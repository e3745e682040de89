"""The embeddings of normal clips that scorers are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asd.errors import UserError


@dataclass(frozen=True)
class Bank:
    """Reference embeddings, sorted by the index of their clips.

    Attributes:
        embeddings: ``(N, E)`` float32.
        population: ``(N,)`` int64 number of the machine and section.
        target: ``(N,)`` bool, true where the clip is of the target domain.
        group: ``(N,)`` int64, equal for clips of one recording.
        index: ``(N,)`` int64 row of the clip in its data set.
    """

    embeddings: Tensor
    population: Tensor
    target: Tensor
    group: Tensor
    index: Tensor

    def check(self, names: Sequence[str]) -> None:
        """Raise `UserError` where a population has no clip, or an embedding that is not finite."""
        for number, name in enumerate(names):
            rows = self.embeddings[self.population == number]
            if len(rows) == 0:
                raise UserError(f"{name}: no normal training clips to fit a scorer on")
            bad = int((~rows.isfinite().all(1)).sum())
            if bad:
                raise UserError(
                    f"{name}: {bad} of {len(rows)} embeddings of normal clips are not finite; lower the learning rate "
                    "or train in float32 (trainer.precision)"
                )

    def of(self, population: int) -> Bank:
        """The rows of one population."""
        rows = torch.nonzero(self.population == population).flatten()
        parts = (self.embeddings, self.population, self.target, self.group, self.index)
        return Bank(*(part[rows] for part in parts))
