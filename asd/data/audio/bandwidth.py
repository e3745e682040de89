"""Up to which frequency a recording holds sound at all, whatever its sample rate says."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FRAME_SECONDS = 0.064
CLIFF_DB = 20.0
"""A spectrum that falls so far within half an octave was cut: no sound, room or microphone is as steep."""

_BELOW, _ABOVE = 0.8, 1.1
"""What lies below a cliff is heard from the first part of its frequency on; what lies above it, from the second on."""

_LEAST_HZ = 2000.0
_BAND_HZ = 250.0
_LEAST_POWER = 1e-24


def frame_samples(sample_rate: int) -> int:
    """Samples of an analysis frame: the power of two nearest to 64 ms."""
    return max(64, 1 << round(math.log2(FRAME_SECONDS * sample_rate)))


def powers(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Frames ``(n, S)`` to the sum ``(S / 2 + 1,)`` of their power spectra."""
    # The window's side lobes lie below what a tone may stand above the noise.
    spectrum = np.fft.rfft(frames * np.blackman(frames.shape[1]).astype(np.float32))
    return np.asarray((spectrum.real**2 + spectrum.imag**2).sum(0), np.float64)


def bandwidth(power: NDArray[np.float64], sample_rate: int) -> float:
    """Hz up to which there is sound: the cliff above which the level stays low, else half the sample rate.

    Resampling, codecs and filters of recorders leave a cliff. Sound that dies away into the noise of its microphone
    leaves none: that noise is what was recorded there. So quiet machines, and those without high frequencies, have the
    bandwidth of their recorder. A band's level is the median in it, for a few tones are no band.

    Args:
        power: ``(F,)`` mean power at each frequency, from 0 to half the sample rate.
        sample_rate: Hz.
    """
    half = sample_rate / 2
    level = 10 * np.log10(np.maximum(power[1:-1], _LEAST_POWER))
    size = max(4, round(_BAND_HZ / (half / (len(power) - 1))))
    count = len(level) // size
    bands = np.median(level[: count * size].reshape(count, size), axis=1)
    highest = np.maximum.accumulate(bands[::-1])[::-1]  # of a band and of all above it
    width = size * half / (len(power) - 1)
    for edge in range(math.ceil(_LEAST_HZ / width), math.floor(count / _ABOVE)):
        low, high = math.floor(_BELOW * edge), math.ceil(_ABOVE * edge)
        inside = float(np.sort(bands[low:edge])[(edge - low - 1) // 2])
        if high < count and inside - highest[high] >= CLIFF_DB:
            between = (inside + highest[high]) / 2
            return float((edge + np.count_nonzero(bands[edge:high] > between)) * width)
    return half
