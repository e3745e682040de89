"""Options of the decision threshold that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd.scoring.threshold import Threshold

KINDS = ("gamma", "quantile", "conformal")
DEFAULTS: dict[str, Any] = {"threshold": "gamma", "quantile": 0.9, "target": "pooled", "abstain": 0.0}


def add_threshold_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--threshold", choices=KINDS, help="what the decision threshold is a quantile of (gamma)")
    parser.add_argument("--quantile", type=float, help="part of the normal clips below the threshold (0.9)")
    parser.add_argument(
        "--target", choices=("pooled", "balanced", "highest"), help="what the few target clips count for (pooled)"
    )
    parser.add_argument("--abstain", type=float, help="part of the normal clips, below it, without a decision (0)")


def build_threshold(threshold: str, quantile: float, target: str, abstain: float) -> Threshold:
    """The threshold asked for.

    Raises:
        UserError: A value out of range.
    """
    from asd.errors import UserError
    from asd.scoring import threshold as kinds

    if threshold not in KINDS:
        raise UserError(f"threshold is {threshold!r}; choose one of {', '.join(KINDS)}")
    options: dict[str, Any] = {"quantile": float(quantile), "target": target, "abstain": float(abstain)}
    if threshold == "gamma":
        return kinds.GammaThreshold(**options)
    return kinds.QuantileThreshold(**options) if threshold == "quantile" else kinds.ConformalThreshold(**options)
