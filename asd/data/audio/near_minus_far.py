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
    filter that leaves least of C, and ``C - H F`` is left (W1 of kasahart/asd-experiments, which scales both to a peak
    of 0.9 first and adds 1e-12 to the denominator). Hann windows of 64 ms, half overlapping, edges reflected.

    Args:
        near: The microphone at the machine, at least `window_samples` long.
        far: The one that hears the noise and little of the machine.
        sample_rate: Hz of both.
    """
    size = window_samples(sample_rate)
    hop, samples = size // 2, near.shape[-1]
    # One frame more than the method has, for the samples after the middle of its last: they had a window's edge alone.
    padded = torch.nn.functional.pad(torch.stack([near, far]), (hop, hop + -samples % hop), mode="reflect")
    window = torch.hann_window(size)
    spectra = torch.fft.rfft(padded.unfold(-1, size, hop) * window)
    c, f = spectra[:, : 1 + samples // hop]
    least = max(_LEAST_ENERGY * (padded.abs().max().item() / _PEAK) ** 2, 1e-30)
    response = torch.linalg.vecdot(f, c, dim=0) / (torch.linalg.vecdot(f, f, dim=0).real + least)
    near_frames, far_frames = spectra  # changed in place: fresh memory takes longer than the work
    left = torch.fft.irfft(near_frames.sub_(far_frames.mul_(response)), size).mul_(window).unflatten(-1, (2, hop))
    overlap = window.square().view(2, hop).sum(0)
    joined: Tensor = (left[:-1, 1] + left[1:, 0]) / overlap
    return joined.flatten()[:samples]
