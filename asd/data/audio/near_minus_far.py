"""What a near microphone hears without the noise that a far one hears, too."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW_SECONDS = 0.064
"""1024 samples at 16 kHz: longer than sound takes from one microphone to the other."""

_PEAK, _LEAST_ENERGY = 0.9, 1e-12


def window_samples(sample_rate: int) -> int:
    """Samples of a window of the spectrum, an even number; fewer than these cannot be subtracted."""
    return 2 * round(WINDOW_SECONDS / 2 * sample_rate)


def near_minus_far(near: Tensor, far: Tensor, sample_rate: int) -> Tensor:
    """The near channel ``(T,)`` without what the far one ``(T,)`` predicts of it, frequency by frequency.

    Of the spectra C of the near and F of the far channel, ``H = sum C conj(F) / sum |F|^2`` over all frames is the one
    filter that leaves least of C, and ``C - H F`` is left: the first two-microphone method of kasahart/asd-experiments,
    with Hann windows of 64 ms, half overlapping.

    Args:
        near: The microphone at the machine, at least `window_samples` long.
        far: The one that hears the noise and little of the machine.
        sample_rate: Hz of both.
    """
    size = window_samples(sample_rate)
    hop, samples = size // 2, near.shape[-1]
    pair = torch.stack([near, far])
    scale = _PEAK / pair.abs().max().clamp_min(1e-30)
    # One frame more than the method has, for the samples after the middle of its last: they had a window's edge alone.
    padded = torch.nn.functional.pad(pair * scale, (hop, hop + -samples % hop), mode="reflect")
    window = torch.hann_window(size)
    spectra = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
    c, f = spectra[..., : 1 + samples // hop]
    response = (c * f.conj()).sum(-1) / (f.abs().square().sum(-1) + _LEAST_ENERGY)
    left = spectra[0] - response[:, None] * spectra[1]
    return torch.istft(left, size, hop, window=window, length=samples) / scale
