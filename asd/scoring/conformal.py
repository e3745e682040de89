"""How surprising a score is among the scores of normal clips."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
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


class Ranks:
    """The scores of normal clips that were held out, of which those of one recording count as one together.

    Each was scored without whatever resembles it, as new sound is. The p-value of a score among ``R`` recordings is
    (1 + the sum over recordings of the part of their clips that score as high) / (R + 1), see Vovk et al. 2005,
    Algorithmic Learning in a Random World; for groups Dunn, Wasserman and Ramdas 2023, Distribution-free prediction
    sets for two-layer hierarchical models. It holds for new recordings on average; how far it may be off for one
    machine, where recordings resemble each other, the interval of its false alarms tells.

    Args:
        scores: ``N`` scores.
        recordings: The recording of each; none: every clip is its own.
    """

    def __init__(self, scores: Sequence[float], recordings: Sequence[int] = ()) -> None:
        of = list(recordings) or list(range(len(scores)))
        size = Counter(of)
        self.recordings = len(size)
        pairs = sorted(zip(scores, of, strict=True))
        self.scores = [score for score, _ in pairs]
        # The weight of the clips from each place on.
        self._from = [*accumulate((1 / size[one] for _, one in reversed(pairs)), initial=0.0)][::-1]

    def percentile(self, score: float) -> float:
        """Percent of the clips that score no higher; nan without clips."""
        return 100 * bisect_right(self.scores, score) / len(self.scores) if self.scores else math.nan

    def p_value(self, score: float) -> float:
        """The p-value; nan without clips."""
        if not self.scores:
            return math.nan
        return min(1.0, (1 + self._from[bisect_left(self.scores, score)]) / (self.recordings + 1))
