"""Short-time magnitude spectra of a batch of waveforms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.precision import full_precision


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
        self.register_buffer("window", torch.hann_window(window), persistent=False)

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
