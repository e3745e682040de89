"""Quantiles of any number of values: `torch.quantile` refuses more than sixteen million."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def quantile(values: Tensor, part: float) -> Tensor:
    """What `torch.quantile` gives: of values ``(N,)``, `N` at least 1, a scalar; NaN where one of them is."""
    last = len(values) - 1
    place = part * last
    low = math.floor(place)
    high = min(low + 1, last)
    # Values that are NaN come last.
    found = torch.from_numpy(np.partition(values.detach().cpu().numpy(), [low, high, last])[[low, high, last]])
    return (found[2] if bool(found[2].isnan()) else found[0].lerp(found[1], place - low)).to(values.device)
