"""Anomaly scorers, thresholds and the population that routes clips to them by machine."""

from asd.scoring.base import NotFittedError, Scorer
from asd.scoring.fusion import ScoreFusion
from asd.scoring.kmeans import KMeansScorer

__all__ = ["KMeansScorer", "NotFittedError", "ScoreFusion", "Scorer"]
