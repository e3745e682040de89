"""Front ends of pre-trained encoders, for a batch at once and in float32 also under autocast."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.constants import constant
from asd.utils.precision import full_precision

_PAIR = 2


def in_cache(front_end: Callable[[Tensor], Tensor], waveform: Tensor) -> Tensor:
    """A batch ``(B, T)`` at once, but on a CPU two clips at a time: out of its caches they take three times as long."""
    if torch.compiler.is_exporting() or waveform.device.type != "cpu" or len(waveform) <= _PAIR:
        return front_end(waveform)
    return torch.cat([front_end(part) for part in waveform.split(_PAIR)])


class KaldiFilterBank(nn.Module):
    """Log-mel filter bank as Kaldi computes it: no dither, no energy, frames within the clip alone.

    Each frame loses its mean and is pre-emphasised by 0.97 before the window. Equal to
    ``torchaudio.compliance.kaldi.fbank`` clip by clip.

    Args:
        bands: Mel bands ``M`` between 20 Hz and half the sample rate.
        window: Shape of the window.
        sample_rate: Hz.
        frame_samples: Samples of a frame.
        hop_samples: Samples between frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        bands: int = 128,
        window: Literal["povey", "hanning"] = "povey",
        sample_rate: int = 16000,
        frame_samples: int = 400,
        hop_samples: int = 160,
    ) -> None:
        super().__init__()
        self.frame = frame_samples
        self.hop = hop_samples
        self.padded = 1 << (frame_samples - 1).bit_length()
        # In float32, as Kaldi's users have it: see `_kaldi_triangles`.
        self.register_buffer("window", constant(_kaldi_window, window, frame_samples), persistent=False)
        self.register_buffer("filters", constant(_kaldi_triangles, bands, self.padded, sample_rate), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)``; a clip shorter than one frame is padded with zeros to one."""
        return in_cache(self._at_once, waveform)

    def _at_once(self, waveform: Tensor) -> Tensor:
        with full_precision(waveform):
            waveform = waveform.float()
            if waveform.shape[1] < self.frame:
                waveform = F.pad(waveform, (0, self.frame - waveform.shape[1]))
            frames = waveform.unfold(1, self.frame, self.hop)
            frames = frames - frames.mean(2, keepdim=True)
            frames = frames - 0.97 * torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
            spectrum = torch.fft.rfft(frames * self.window, self.padded)
            power = spectrum.real.square() + spectrum.imag.square()
            bands: Tensor = power @ self.filters
            return bands.clamp_min(torch.finfo(torch.float32).eps).log()


def _kaldi_window(window: str, size: int) -> Tensor:
    shape = torch.hann_window(size, periodic=False)
    return shape.pow(0.85) if window == "povey" else shape


def _kaldi_triangles(bands: int, size: int, sample_rate: int) -> Tensor:
    """``(size / 2 + 1, M)`` triangles that are straight in mel, with a zero row for the Nyquist frequency."""

    # In float32 on purpose: a band narrower than a bin has one small weight, whose rounding shows in the logarithm, and
    # published weights were trained on the rounded one.
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (20.0, sample_rate / 2))
    step = (highest - lowest) / (bands + 1)
    number = torch.arange(bands, dtype=torch.float32)
    low, centre, high = (lowest + (number + offset) * step for offset in (0.0, 1.0, 2.0))
    bins = 1127.0 * (1.0 + sample_rate / size * torch.arange(size // 2) / 700.0).log()[:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return F.pad(triangles, (0, 0, 0, 1))


class LogMel(nn.Module):
    """Mel spectrogram in decibels, cut off below each clip's own maximum.

    Equal to torchaudio's ``MelSpectrogram`` and ``AmplitudeToDB`` on one clip; on a batch, those take the maximum over
    all clips, so that a loud one would change the others.

    Args:
        sample_rate: Hz.
        bands: Mel bands ``M``.
        size: Samples of window and transform.
        hop_samples: Samples between frames.
        high_hz: Upper end of the bands.
        top_db: Decibels below the clip's maximum at which its values are cut off.
        low_hz: Lower end of the bands.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        bands: int = 64,
        size: int = 512,
        hop_samples: int = 160,
        high_hz: float = 8000.0,
        top_db: float = 120.0,
        low_hz: float = 0.0,
    ) -> None:
        super().__init__()
        self.size = size
        self.hop = hop_samples
        self.top_db = top_db
        from torchaudio.functional import melscale_fbanks  # not above: most encoders do without

        filters = constant(melscale_fbanks, size // 2 + 1, low_hz, high_hz, bands, sample_rate)
        self.register_buffer("window", constant(torch.hann_window, size), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)``; a clip too short to be mirrored at its ends is padded with zeros first."""
        return in_cache(self._at_once, waveform)

    def _at_once(self, waveform: Tensor) -> Tensor:
        with full_precision(waveform):
            waveform = waveform.float()
            shortest = self.size // 2 + 1
            if waveform.shape[1] < shortest:
                waveform = F.pad(waveform, (0, shortest - waveform.shape[1]))
            spectrum = torch.stft(
                waveform, self.size, self.hop, window=self.window, pad_mode="reflect", return_complex=True
            )
            power = (spectrum.real.square() + spectrum.imag.square()).mT
            level = 10 * (power @ self.filters).clamp_min(1e-10).log10()
            return torch.maximum(level, level.amax((1, 2), keepdim=True) - self.top_db)
