"""How frames become one vector, without parameters.

Shapes: ``B`` clips, or clips and bands, ``F`` frames, ``D`` feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_POWER = 3.0
_TINY = 1e-6


def relative_deviation(rows: Tensor, exponent: float) -> Tensor:
    """Weights ``(B, F, 1)`` of the frames ``(B, F, D)``: the more, the farther a frame is from their mean.

    Relative deviation pooling (RDP, arXiv 2603.04605): one plus the distance, in parts of the largest one, to the power
    `exponent`; 0 gives the mean. Short events count for more than what goes on all the time.
    """
    away = torch.linalg.vector_norm(rows - rows.mean(1, keepdim=True), dim=2, keepdim=True)
    # By their logarithms, for powers overflow.
    raised: Tensor = exponent * (away / away.amax(1, keepdim=True).clamp_min(_TINY)).log1p()
    return raised.softmax(1)


def generalised_mean(rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cube root of the mean cube of what is positive (GeM): ``(B, F, D)`` and weights ``(B, F, 1)`` to ``(B, D)``."""
    cubes = rows.clamp_min(_TINY) ** _POWER
    mean: Tensor = cubes.mean(1) if weights is None else (weights * cubes).sum(1)
    return mean ** (1 / _POWER)


def pooled(rows: Tensor, pooling: str, exponent: float) -> Tensor:
    """``(B, F, D)`` to ``(B, D)``, to ``(B, 2 * D)`` for ``mean_max``.

    Args:
        rows: The frames.
        pooling: ``mean``, ``max``, ``mean_max``, ``rdp``, ``gem`` or ``rdp_gem``.
        exponent: Of the relative deviation.
    """
    if pooling == "mean":
        return rows.mean(1)
    if pooling == "max":
        return rows.amax(1)
    if pooling == "mean_max":
        return torch.cat([rows.mean(1), rows.amax(1)], dim=1)
    # Powers of half precision overflow.
    rows = rows.float()
    if pooling == "gem":
        return generalised_mean(rows)
    weights = relative_deviation(rows, exponent)
    return (weights * rows).sum(1) if pooling == "rdp" else generalised_mean(rows, weights)
