"""Resampling, by choice with nothing left above a limit: what recordings of less bandwidth hold, too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

from asd.errors import UserError

_STOP = 0.9
"""Part of a limit from which on nothing is left. Just below half its sample rate each recorder filters in its own way,
so that part is left out as well; the resampler's slope begins a tenth lower."""


LEAST_BAND = 50.0
MOST_BAND = 1e6


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
    between = round(2 * stop(band)) if band is not None else 0
    through = [rate, between, sample_rate] if 0 < between < min(rate, sample_rate) else [rate, sample_rate]
    return [one for at, one in enumerate(through) if at == 0 or one != through[at - 1]]


def resample(samples: NDArray[np.float32], rate: int, sample_rate: int, band: float | None) -> NDArray[np.float32]:
    """Samples ``(T,)`` at another rate; the same where nothing is to be done."""
    way = rates(rate, sample_rate, band)
    expected = round(len(samples) * sample_rate / rate)
    for before, after in pairwise(way):
        samples = soxr.resample(samples, before, after, quality="HQ")
    missing = expected - len(samples) if len(way) > 2 else 0  # each step rounds the length
    return samples[:expected] if missing < 0 else np.pad(samples, (0, missing)) if missing else samples


class Resampler:
    """The same of sound that keeps coming.

    Args:
        rate: Hz of what comes.
        sample_rate: Hz of what goes.
        band: The limit in Hz; ``None``: none.
    """

    def __init__(self, rate: int, sample_rate: int, band: float | None) -> None:
        way = rates(rate, sample_rate, band)
        self._steps = [
            soxr.ResampleStream(before, after, 1, dtype="float32", quality="HQ") for before, after in pairwise(way)
        ]

    @property
    def idle(self) -> bool:
        """Whether what comes goes as it is."""
        return not self._steps

    def push(self, samples: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """What the next samples ``(n,)`` complete."""
        for step in self._steps:
            samples = step.resample_chunk(samples, last)
        return samples
