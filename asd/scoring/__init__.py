"""Anomaly scorers, thresholds and the population that routes clips to them by machine."""

from asd.scoring.base import NotFittedError, Scorer

__all__ = ["NotFittedError", "Scorer"]
