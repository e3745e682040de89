"""Resampling inside a network; apart, so that torchaudio is imported where a network resamples and nowhere else."""

from __future__ import annotations

import torchaudio
from torch import Tensor

from asd.utils.precision import full_precision


class Resample(torchaudio.transforms.Resample):  # type: ignore[misc]
    """In float32 also under autocast, which would round the sound to the precision of features."""

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at the one rate to ``(B, T')`` at the other."""
        with full_precision(waveform):
            resampled: Tensor = super().forward(waveform.float())
            return resampled
