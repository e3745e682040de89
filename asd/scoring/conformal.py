"""How surprising a score is among the scores of normal clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Surprise:
    """Minus the logarithm of the conformal p-value of a score, made continuous and without an upper end.

    The p-value is (1 + number of normal clips that score as high) / (1 + number of normal clips). It is interpolated
    between the scores of the clips; beyond the highest it falls exponentially by the mean excess of the highest fifth,
    so that the order of scores is kept where no normal clip has been.

    Attributes:
        knots: ``(N,)`` scores of the normal clips, ascending.
        values: ``(N,)`` surprise at them.
        slope: Scalar: by how much surprise grows with the score beyond the highest.
    """

    knots: Tensor
    values: Tensor
    slope: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> Self:
        """From scores ``(N,)`` of normal clips, ``N`` at least 1."""
        knots = scores.sort().values
        count = len(knots)
        above = torch.arange(count, 0, -1, device=knots.device)
        high = knots[int(0.8 * count) :]
        spread = torch.maximum((high - high[0]).mean(), 0.1 * knots.std(correction=0)).clamp_min(1e-6)
        return cls(knots, -((1 + above) / (1 + count)).log().to(knots), 1 / spread)

    def __call__(self, scores: Tensor) -> Tensor:
        """``(B,)`` scores to surprise ``(B,)``."""
        if len(self.knots) == 1:
            inside = self.values.expand(len(scores))
        else:
            upper = self._place(scores).clamp(1, len(self.knots) - 1)
            low, high = self.knots[upper - 1], self.knots[upper]
            share = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
            inside = torch.lerp(self.values[upper - 1], self.values[upper], share)
        beyond, below = (scores - self.knots[-1]).clamp_min(0), (self.knots[0] - scores).clamp_min(0)
        # Below the lowest normal score the order is kept too, with hardly any weight.
        return inside + self.slope * beyond - 1e-3 * self.slope * below

    def _place(self, scores: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # ONNX knows no searchsorted
            return (self.knots < scores[:, None]).sum(1)
        return torch.searchsorted(self.knots, scores.contiguous())
