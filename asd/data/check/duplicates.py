"""Recordings that are there twice: the same samples, or nearly the same sound at another level or in another format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd.data.audio.decoding import AudioError, read

BLOCKS, BANDS = 16, 16
SIMILAR = 0.5
"""Likeness of fingerprints from which on two files are compared sample by sample. Independent recordings of one steady
sound are alike by chance only, about 0.07; a copy that begins 50 ms later still reaches 0.5."""

SAME = 0.95
"""Correlation of the samples, at the best shift, from which on two files are nearly the same."""

_LOWEST, _HIGHEST = 60.0, 3800.0
_FRAME_SECONDS = 0.064
_COMPARED_RATE = 8000
_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files that hold the same sound.

    Attributes:
        first: The one that comes first.
        second: The other.
        exact: Every sample is the same.
    """

    first: Path
    second: Path
    exact: bool


class Fingerprint:
    """How the energy of a recording moves, in 16 bands from 60 to 3800 Hz over 16 parts of its length.

    Level and colour are taken out, so that a copy at another level, rate or format has the same one, and another
    recording of the same steady sound does not.
    """

    def __init__(self, sample_rate: int) -> None:
        self.frame = max(16, round(_FRAME_SECONDS * sample_rate))
        frequency = np.fft.rfftfreq(self.frame, 1 / sample_rate)
        self.window = np.hanning(self.frame).astype(np.float32)
        edges = np.searchsorted(frequency, np.geomspace(_LOWEST, _HIGHEST, BANDS + 1))
        self.starts = np.minimum(edges[:-1], len(frequency) - 1)
        self.end = max(int(edges[-1]), int(self.starts[-1]) + 1)
        self.energies: list[NDArray[np.float32]] = []
        self.rest = np.empty(0, np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next samples ``(T,)`` of the recording."""
        samples = np.concatenate([self.rest, samples]) if len(self.rest) else samples
        count = len(samples) // self.frame
        self.rest = samples[count * self.frame :]
        if count:
            frames = samples[: count * self.frame].reshape(count, self.frame) * self.window
            spectrum = np.fft.rfft(frames)[:, : self.end]
            power = spectrum.real**2 + spectrum.imag**2
            self.energies.append(np.add.reduceat(power, self.starts, axis=1).astype(np.float32))

    def finish(self) -> NDArray[np.float32] | None:
        """``(256,)`` of unit length; ``None`` for a recording that is too short or does not move."""
        energy = np.concatenate(self.energies) if self.energies else np.empty((0, BANDS), np.float32)
        if len(energy) < 2 * BLOCKS:
            return None
        ends = np.linspace(0, len(energy), BLOCKS + 1).astype(int)
        parts = np.log(np.add.reduceat(energy, ends[:-1], axis=0) + 1e-12)
        parts -= parts.mean(0)
        parts -= parts.mean(1, keepdims=True)
        length = float(np.linalg.norm(parts))
        return None if not length > 1e-3 else (parts.ravel() / length).astype(np.float32)


def find_pairs(
    paths: Sequence[Path], digests: Sequence[bytes], prints: Sequence[NDArray[np.float32] | None]
) -> list[Pair]:
    """Files that are the same or nearly the same as one before them, each with the first such.

    Args:
        paths: The files.
        digests: Of the samples of each; empty where it cannot be read.
        prints: Fingerprint of each, or ``None``.
    """
    first: dict[bytes, Path] = {}
    pairs, doubled = [], set()
    for path, digest in zip(paths, digests, strict=True):
        if digest and first.setdefault(digest, path) != path:
            pairs.append(Pair(first[digest], path, exact=True))
            doubled.add(path)
    kept = [(path, one) for path, one in zip(paths, prints, strict=True) if one is not None and path not in doubled]
    if kept:
        pairs += _near([path for path, _ in kept], np.stack([one for _, one in kept]))
    return pairs


def _near(paths: Sequence[Path], prints: NDArray[np.float32]) -> list[Pair]:
    pairs = []
    for start in range(0, len(prints), _ROWS):
        likeness = prints[start : start + _ROWS] @ prints[: start + _ROWS].T
        for row, others in enumerate(likeness, start):
            best = int(others[:row].argmax()) if row else 0
            if row and others[best] >= SIMILAR and _same_sound(paths[best], paths[row]):
                pairs.append(Pair(paths[best], paths[row], exact=False))
    return pairs


def _same_sound(first: Path, second: Path) -> bool:
    from scipy.signal import fftconvolve  # not above: few sets hold anything that is alike

    try:
        one, other = (read(path, _COMPARED_RATE) for path in (first, second))
    except AudioError:
        return False
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return scale > 0 and float(np.abs(fftconvolve(one, other[::-1])).max()) / scale >= SAME
