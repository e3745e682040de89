"""The usual spectrum of a machine: what an explanation puts in the place of what it leaves out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_WINDOW_SECONDS = 0.064
_LEAST = 1e-7


def window_size(sample_rate: int) -> int:
    """Samples of an analysis window at `sample_rate` Hz: the power of two nearest to 64 ms."""
    return 1 << round(math.log2(_WINDOW_SECONDS * sample_rate))


def spectrogram(waveform: Tensor, sample_rate: int, overlap: int = 4) -> Tensor:
    """``(B, T)`` to the complex ``(B, F, N)``, of windows of which `overlap` cover each sample."""
    size = window_size(sample_rate)
    window = torch.hann_window(size, device=waveform.device)
    return torch.stft(waveform.float(), size, size // overlap, window=window, pad_mode="constant", return_complex=True)


def waveform_of(spectrogram: Tensor, sample_rate: int, samples: int) -> Tensor:
    """The inverse of `spectrogram` at its usual overlap: ``(B, F, N)`` to ``(B, samples)``."""
    size = window_size(sample_rate)
    window = torch.hann_window(size, device=spectrogram.device)
    return torch.istft(spectrogram, size, size // 4, window=window, length=samples)


def mean_level(waveform: Tensor, sample_rate: int) -> Tensor:
    """``(B, T)`` to ``(B, F)``, the mean over time of the logarithm of the magnitude at each frequency."""
    magnitude = spectrogram(waveform, sample_rate, overlap=1).abs()
    return magnitude.clamp_min(_LEAST).log().mean(2)
