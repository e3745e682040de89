"""Training-set statistics of front ends, over all processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asd.encoders.base import Encoder, Statistics
from asd.training import distributed


@torch.no_grad()
def fit_statistics(encoder: Encoder, waveforms: Iterable[Tensor], device: torch.device) -> None:
    """Fit the encoder's unfitted `Statistics`, if there are any, on this process's batches ``(B, T)``."""
    todo = [module for module in encoder.modules() if isinstance(module, Statistics) and not bool(module.fitted)]
    if not todo:
        return
    for waveform in waveforms:
        encoder.observe(waveform.to(device))
    for statistics in todo:
        for name in ("count", "total", "squares"):
            setattr(statistics, name, distributed.total(getattr(statistics, name)))
        statistics.finish()
