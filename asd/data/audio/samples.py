"""Whether samples can be judged at all: the one place that says so of files, arrays and streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16] | NDArray[np.float32]

FULL_SCALE_LIMIT = 2.0
"""Lossy codecs and resampling overshoot full scale a little; beyond this the file is scaled differently."""

_LEAST_RANGE = 2.0**-23
"""Of full scale, a step of 24 bits: what moves less, or less than `_LEAST_PART` of its own level, is a dead sensor."""

_LEAST_PART = 2.0**-17
_CLIPPED_FROM = 0.9
"""Converters and codecs stop at full scale, or a little below."""

_ZEROS_SECONDS, _ZEROS_PART = 0.5, 0.05


def why_broken(samples: Samples) -> str:
    """Why samples are no sound on the scale from -1 to 1; empty: they are."""
    return "" if samples.dtype == np.int16 else why_broken_range(float(samples.min()), float(samples.max()))


def why_dead(samples: Samples) -> str:
    """Why samples ``(T,)`` or ``(T, C)`` tell nothing of a machine; empty: they do.

    They do not vary (silent, constant, a dead sensor), or are nothing but clipping.
    """
    step = 1 / 32768 if samples.dtype == np.int16 else 1.0
    low, high = float(samples.min()) * step, float(samples.max()) * step
    least = 0.0
    if min(-low, high) >= _CLIPPED_FROM:
        for some in (samples[:1024], samples):  # nearly every file is told by the first
            least = float(np.abs(some.astype(np.float32, copy=False)).min()) * step
            if not _is_clipped(low, high, least):
                break
    return why_dead_range(low, high, least)


def why_broken_range(low: float, high: float) -> str:
    """`why_broken` of the lowest and the highest value."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return "holds samples that are not finite (NaN or infinity)"
    peak = max(high, -low)
    return f"samples reach {peak:.3g} where full scale is 1 (divide them)" if peak > FULL_SCALE_LIMIT else ""


def why_dead_range(low: float, high: float, least: float) -> str:
    """`why_dead` of the lowest and the highest value, and of the least magnitude."""
    if _is_clipped(low, high, least):
        return "nothing but clipping, every sample is at full scale"
    peak = max(high, -low)
    if peak == 0:
        return "silent, every sample is zero"
    if high - low < max(_LEAST_RANGE, _LEAST_PART * peak):
        return f"constant, every sample is {high:.3g} of full scale"
    return ""


def zeros_at_end(samples: Samples, sample_rate: int) -> float:
    """Seconds of exact zeros at the end of ``(T,)``, where they are more than what codecs and recorders add; else 0."""
    least = round(_ZEROS_SECONDS * sample_rate)
    if samples[-least:].any():  # nearly every file is told by these
        return 0.0
    sounding = np.flatnonzero(samples)
    return zeros_worth_a_remark(len(samples) - 1 - int(sounding[-1]) if len(sounding) else 0, len(samples), sample_rate)


def zeros_worth_a_remark(zeros: int, samples: int, sample_rate: int) -> float:
    """The same of their number, and that of all samples."""
    seconds = zeros / sample_rate
    many = zeros >= _ZEROS_PART * samples or seconds >= 10 * _ZEROS_SECONDS
    return seconds if seconds >= _ZEROS_SECONDS and many and zeros < samples else 0.0


def _is_clipped(low: float, high: float, least: float) -> bool:
    level = min(-low, high, 1.0)
    return level >= _CLIPPED_FROM and least >= 0.999 * level
