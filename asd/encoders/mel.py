"""Mel filters, and spectrograms in mel bands whose windows lie where the caller puts them.

Shapes: ``B`` clips, ``T`` samples, ``F`` frames, ``M`` bands.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from asd.encoders.frontends import in_cache
from asd.utils.precision import full_precision

_Reals = NDArray[np.float64]
# Slaney's scale (Auditory Toolbox, 1998) is straight up to 1000 Hz, where it is 15, and logarithmic above.
_STRAIGHT, _KNEE, _STEP = 200 / 3, 15.0, math.log(6.4) / 27


def _to_mel(hertz: _Reals, slaney: bool) -> _Reals:
    if not slaney:
        return 1127 * np.log1p(hertz / 700)
    return np.where(hertz < 1000, hertz / _STRAIGHT, _KNEE + np.log(np.maximum(hertz, 1000) / 1000) / _STEP)


def _to_hertz(mel: _Reals, slaney: bool) -> _Reals:
    if not slaney:
        return 700 * np.expm1(mel / 1127)
    return np.where(mel < _KNEE, _STRAIGHT * mel, 1000 * np.exp(_STEP * (mel - _KNEE)))


def mel_filters(
    bands: int,
    size: int,
    sample_rate: int,
    low_hz: float,
    high_hz: float,
    straight_in: Literal["mel", "hertz"],
    norm: Literal["sum", "area"] | None = None,
    slaney: bool = False,
) -> Tensor:
    """Triangles ``(size // 2 + 1, M)`` over the bins of a transform, evenly apart in mel; computed in float64.

    Args:
        bands: Their number ``M``.
        size: Samples of the transform.
        sample_rate: Hz.
        low_hz: Where the first one begins.
        high_hz: Where the last one ends.
        straight_in: The scale in which their sides are straight.
        norm: Each one divided by the sum of its weights, or by its area in Hz; ``None``: all are as high as one.
        slaney: Slaney's mel scale; else that of HTK.
    """
    bins: _Reals = np.linspace(0, sample_rate / 2, size // 2 + 1)
    ends = _to_mel(np.array([low_hz, high_hz]), slaney)
    edges: _Reals = np.linspace(ends[0], ends[1], bands + 2)
    hertz = _to_hertz(edges, slaney)
    if straight_in == "mel":
        bins = _to_mel(bins, slaney)
    else:
        edges = hertz
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.minimum(rising, falling).clip(0)
    if norm == "area":
        triangles *= 2 / (hertz[2:] - hertz[:-2])
    elif norm == "sum":
        # A triangle between two bins is empty and stays so.
        triangles /= np.maximum(triangles.sum(0), np.finfo(np.float64).tiny)
    return torch.tensor(triangles, dtype=torch.float32)


class BandSpectrogram(nn.Module):
    """Power or magnitude in bands, one window every hop from the first sample on, in float32 also under autocast.

    Args:
        window: ``(W,)`` weights of the samples of a window.
        hop: Samples between windows.
        filters: ``(size // 2 + 1, M)`` weights of the bins in each band; ``None``: the bins themselves.
        magnitude: Magnitude in the place of power.
        size: Samples of the transform, to which windows are padded with zeros; ``None``: those of a window.
    """

    window: Tensor
    filters: Tensor | None

    def __init__(
        self, window: Tensor, hop: int, filters: Tensor | None, magnitude: bool = False, size: int | None = None
    ) -> None:
        super().__init__()
        self.hop = hop
        self.magnitude = magnitude
        self.size = size or len(window)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, ..., T)`` to ``(B, ..., F, M)`` with ``F = 1 + (T - W) // hop``."""
        return in_cache(self._at_once, waveform)

    def _at_once(self, waveform: Tensor) -> Tensor:
        with full_precision(waveform):
            frames = waveform.float().unfold(-1, len(self.window), self.hop)
            spectrum = torch.fft.rfft(frames * self.window, self.size)
            bands: Tensor = spectrum.real.square() + spectrum.imag.square()
            if self.magnitude:
                # Clamped, the slope of a silent bin is zero and not infinite.
                bands = bands.clamp_min(1e-30).sqrt()
            if self.filters is not None:
                bands = bands @ self.filters
            return bands


def pad_end(waveform: Tensor, samples: int) -> Tensor:
    """``(B, T)`` to at least `samples`, with zeros at the end."""
    return F.pad(waveform, (0, max(0, samples - waveform.shape[-1])))
