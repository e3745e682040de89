"""Resampling, by choice with nothing of a recording left above a limit: what those of less bandwidth hold, too."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

from asd.errors import UserError

LEAST_BAND = 50.0
MOST_BAND = 1e6

_STOP = 0.9
"""Part of a limit from which on nothing is left. Just below half its sample rate each recorder filters in its own way,
so that part is left out as well; the resampler's slope begins a tenth lower."""

_HISS_DBFS = -85.0
"""Level of the noise that stands above the limit. Without it rounding would be all there is: another noise in each copy
of a recording, and so faint that an autoencoder learns little else than its level."""


def check_band(band: float | str | None) -> None:
    """Raise `UserError` for a limit that is none."""
    if band not in (None, "shared") and not (isinstance(band, int | float) and LEAST_BAND <= band <= MOST_BAND):
        raise UserError(
            f"data.band must be null, shared, or {LEAST_BAND:g} to {MOST_BAND:g} Hz of bandwidth, got {band!r}"
        )


def stop(band: float) -> float:
    """Hz from which on a limit of `band` Hz leaves nothing."""
    return _STOP * band


def rates(rate: int, sample_rate: int, band: float | None) -> list[int]:
    """The sample rates that sound passes through on its way from one to the other: a low one between limits it."""
    between = 0 if band is None else round(2 * stop(band))
    through = [rate, between, sample_rate] if 0 < between < min(rate, sample_rate) else [rate, sample_rate]
    return [one for at, one in enumerate(through) if at == 0 or one != through[at - 1]]


def resample(samples: NDArray[np.float32], rate: int, sample_rate: int, band: float | None) -> NDArray[np.float32]:
    """Samples ``(T,)`` at another rate and within a band; the same where nothing is to be done."""
    expected = round(len(samples) * sample_rate / rate)
    for before, after in pairwise(rates(rate, sample_rate, band)):
        samples = soxr.resample(samples, before, after, quality="HQ")
    hiss = _hiss(sample_rate, band)
    if hiss is None:
        return samples
    samples = np.pad(samples, (0, max(0, expected - len(samples))))[:expected]  # each step rounds the length
    return samples + np.resize(hiss, len(samples))


class Resampler:
    """The same of sound that keeps coming.

    Args:
        rate: Hz of what comes.
        sample_rate: Hz of what goes.
        band: The limit in Hz; ``None``: none.
    """

    def __init__(self, rate: int, sample_rate: int, band: float | None) -> None:
        self._steps = [
            soxr.ResampleStream(before, after, 1, dtype="float32", quality="HQ")
            for before, after in pairwise(rates(rate, sample_rate, band))
        ]
        self._hiss = _hiss(sample_rate, band)
        self._done = 0

    @property
    def idle(self) -> bool:
        """Whether what comes goes as it is."""
        return not self._steps

    def push(self, samples: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """What the next samples ``(n,)`` complete."""
        for step in self._steps:
            samples = step.resample_chunk(samples, last)
        if self._hiss is not None:
            samples = samples + np.resize(np.roll(self._hiss, -self._done), len(samples))
            self._done += len(samples)
        return samples


@lru_cache(maxsize=4)
def _hiss(sample_rate: int, band: float | None) -> NDArray[np.float32] | None:
    """A second of noise that repeats, the same for all sound; ``None``: no limit, or none that could be heard."""
    if band is None or round(2 * stop(band)) >= sample_rate:
        return None
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=sample_rate))
    spectrum[: math.ceil(stop(band))] = 0  # a second has a line at each Hz
    hiss = np.fft.irfft(spectrum, sample_rate)
    level: float = 10 ** (_HISS_DBFS / 20) / float(hiss.std())
    return (hiss * level).astype(np.float32)
