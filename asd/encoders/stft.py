"""Magnitude spectra of a batch of waveforms, short-time and of the whole."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asd.encoders.constants import constant
from asd.errors import UserError
from asd.utils.precision import full_precision

_LEAST_FACTOR = 32


class MagnitudeSpectrogram(nn.Module):
    """Magnitudes of the short-time Fourier transform within a band, in float32 also under autocast.

    Args:
        sample_rate: Hz.
        window: Samples of the Hann window and of the transform.
        hop: Samples between windows.
        low_hz: Lowest frequency that is kept.
        high_hz: Highest frequency that is kept.

    Attributes:
        bands: Number of bins ``M`` that are kept.
    """

    window: Tensor

    def __init__(self, sample_rate: int, window: int, hop: int, low_hz: float, high_hz: float) -> None:
        super().__init__()
        if not 0 <= low_hz < high_hz <= sample_rate / 2:
            raise UserError(f"the band {low_hz:g} to {high_hz:g} Hz does not lie within 0 to {sample_rate / 2:g} Hz")
        self.hop = hop
        self.low = -int(-low_hz * window // sample_rate)
        self.high = int(high_hz * window // sample_rate)
        self.bands = self.high - self.low + 1
        self.register_buffer("window", constant(torch.hann_window, window), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)``, one frame each `hop` samples."""
        with full_precision(waveform):
            spectrum = torch.stft(
                waveform.float(),
                len(self.window),
                self.hop,
                window=self.window,
                return_complex=True,
                pad_mode="constant",
            )
            return magnitudes(spectrum[:, self.low : self.high + 1]).mT


def magnitudes(spectrum: Tensor) -> Tensor:
    """Absolute values of complex numbers, several times faster on the CPU than `torch.abs`, which guards overflow."""
    # The small constant keeps the slope finite where a bin is zero.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-16).sqrt()


def whole_magnitudes(waveform: Tensor) -> Tensor:
    """``(B, T)`` to the magnitudes ``(B, T // 2)`` of the spectrum of all of it, without the mean."""
    count = waveform.shape[1] // 2
    if not torch.compiler.is_exporting() or _smaller_factor(waveform.shape[1]) < _LEAST_FACTOR:
        return magnitudes(torch.fft.rfft(waveform)[:, 1 : count + 1])
    real, imaginary = _by_products(waveform)
    return (real[:, 1 : count + 1].square() + imaginary[:, 1 : count + 1].square() + 1e-16).sqrt()


def _by_products(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts ``(B, T)`` of the Fourier transform, as the two matrix products of its two factors.

    onnxruntime knows no fast transform of a length that is no power of two. The split is that of Cooley and Tukey
    (1965): sample ``b * t + u`` and bin ``k + a * m`` of ``a * b``.
    """
    length = waveform.shape[1]
    a = _smaller_factor(length)
    b = length // a
    rows, twiddle, columns = (
        _turns(np.outer(np.arange(left), np.arange(right)) / period)
        for left, right, period in ((a, a, a), (a, b, length), (b, b, b))
    )
    grid = waveform.reshape(-1, a, b)
    first = rows[0] @ grid, rows[1] @ grid
    real = first[0] * twiddle[0] - first[1] * twiddle[1]
    imaginary = first[0] * twiddle[1] + first[1] * twiddle[0]
    parts = (real @ columns[0] - imaginary @ columns[1], real @ columns[1] + imaginary @ columns[0])
    real, imaginary = (part.mT.flatten(1) for part in parts)
    return real, imaginary


def _smaller_factor(length: int) -> int:
    """The larger the better: the other one is the width of a matrix."""
    return next(one for one in range(math.isqrt(length), 0, -1) if length % one == 0)


def _turns(turns: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Cosine and negative sine of angles in turns, float32."""
    angle = 2 * np.pi * turns
    return torch.from_numpy(np.cos(angle).astype(np.float32)), torch.from_numpy(-np.sin(angle).astype(np.float32))
