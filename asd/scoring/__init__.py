"""Anomaly scorers, normalisers, thresholds and the population that routes clips to them by machine."""

from asd.scoring.base import NotFittedError, ReferenceScorer, Scorer
from asd.scoring.fusion import ScoreFusion
from asd.scoring.gaussian import GaussianMixtureScorer, MahalanobisScorer
from asd.scoring.kmeans import KMeansScorer
from asd.scoring.neighbours import NeighboursScorer
from asd.scoring.normalise import ConformalMap, LocalDensity, Standardised
from asd.scoring.outliers import IsolationForestScorer, LocalOutlierFactorScorer, OneClassSVMScorer
from asd.scoring.oversample import Oversampled
from asd.scoring.residual import ResidualScorer

__all__ = [
    "ConformalMap",
    "GaussianMixtureScorer",
    "IsolationForestScorer",
    "KMeansScorer",
    "LocalDensity",
    "LocalOutlierFactorScorer",
    "MahalanobisScorer",
    "NeighboursScorer",
    "NotFittedError",
    "OneClassSVMScorer",
    "Oversampled",
    "ReferenceScorer",
    "ResidualScorer",
    "ScoreFusion",
    "Scorer",
    "Standardised",
]
