"""Where the surroundings of a reference end: the first jump among the distances to its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

_QUANTILE = 0.04


def within_cluster(away: Tensor) -> Tensor:
    """How many of the neighbours of each reference come before the first gap in their distances.

    Cluster exit detection (Wilkinghoff et al. 2026, arXiv 2602.18777): of the ratios of each distance to the next one,
    smoothed by the mean of two, the first below their 4th percentile ends the cluster. Where none is, all neighbours
    count but two, for which there is no smoothed ratio.

    Args:
        away: ``(R, K)`` distances to the nearest neighbours, ascending, infinite where there is none.

    Returns:
        ``(R,)`` int64: of 1 to 2 neighbours all, of more at least 1.
    """
    known = away.isfinite().sum(1)
    if away.shape[1] < 3:
        return known
    # Two clips at the same place are no gap, which 0 / 0 would leave open.
    ratios = torch.where(away[:, 1:] > 0, away[:, :-1] / away[:, 1:], 1.0)
    smooth = (ratios[:, :-1] + ratios[:, 1:]) / 2
    place = torch.arange(1, smooth.shape[1] + 1, device=away.device)
    there = place <= (known - 2)[:, None]
    smooth = smooth.masked_fill(~there, torch.nan)
    gap = smooth < smooth.nanquantile(_QUANTILE, dim=1, keepdim=True)
    first = torch.where(gap, place, known[:, None]).amin(1)
    return torch.where(gap.any(1), first, torch.where(known < 3, known, known - 2))
