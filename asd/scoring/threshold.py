"""Decision thresholds from the scores of normal training clips."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from scipy import stats
from torch import Tensor

from asd.errors import UserError


class Threshold(ABC):
    """How a threshold follows from the scores of normal clips.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
    """

    def __init__(self, quantile: float = 0.9) -> None:
        if not 0 < quantile < 1:
            raise UserError(f"{type(self).__name__}: quantile is {quantile}; give a part in (0, 1), such as 0.9")
        self.quantile = quantile

    @abstractmethod
    def fit(self, scores: Tensor) -> float:
        """The threshold for scores ``(N,)`` of normal clips, ``N`` at least 1."""


class GammaThreshold(Threshold):
    """The quantile of a gamma distribution fitted to the scores, as the challenge's baseline sets it.

    Scores that no gamma distribution fits (fewer than three different values, or none above zero) give their own
    quantile instead.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
    """

    def fit(self, scores: Tensor) -> float:
        """The threshold for scores ``(N,)`` of normal clips."""
        values = scores.detach().double().cpu().numpy()
        positive = values[values > 0]
        if len(set(positive.tolist())) >= 3 and len(positive) == len(values):
            shape, location, scale = stats.gamma.fit(positive, floc=0)
            threshold = float(stats.gamma.ppf(self.quantile, shape, location, scale))
            if math.isfinite(threshold):
                return threshold
        return QuantileThreshold(self.quantile).fit(scores)


class QuantileThreshold(Threshold):
    """The empirical quantile of the scores.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
    """

    def fit(self, scores: Tensor) -> float:
        """The threshold for scores ``(N,)`` of normal clips."""
        return float(torch.quantile(scores.detach().double(), self.quantile))


class ConformalThreshold(Threshold):
    """The split-conformal quantile: a new normal clip lies above it with probability 1 - `quantile` at most.

    With too few clips for the promise, the highest score (Vovk et al. 2005, Algorithmic Learning in a Random World).

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
    """

    def fit(self, scores: Tensor) -> float:
        """The threshold for scores ``(N,)`` of normal clips."""
        count = len(scores)
        rank = min(math.ceil((count + 1) * self.quantile), count)
        return float(scores.detach().double().sort().values[rank - 1])
