"""Recordings cut into windows of the length that a detector was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio import FULL_SCALE_LIMIT, AudioError, decode_opened, opened
from asd.data.cache import in_16_bits
from asd.data.clip import Sound
from asd.data.dataset import Pad

LONGEST_AT_ONCE = 300.0
"""Seconds up to which a file is decoded as a whole; a longer one is decoded window by window, in bounded memory."""

BATCH = 16
"""Windows that go through a model at once."""

_Item = TypeVar("_Item")
_LEAST_PART = 0.5
"""Where this part of a window or more is left at the end, a last window ends with the recording."""


@dataclass(frozen=True)
class Cut:
    """How recordings are cut.

    Attributes:
        sample_rate: Hz of the windows.
        seconds: Length of a window.
        hop: Seconds from one window to the next.
        pad: What follows a window that is too short: the sound again, or zeros.
        channel: The channel to take; ``None``: the mean of all.
    """

    sample_rate: int
    seconds: float
    hop: float
    pad: Pad = "repeat"
    channel: int | None = None

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.sample_rate)

    def starts(self, length: float) -> list[float]:
        """Where the windows of a recording of so many seconds begin."""
        spare = length - self.seconds
        starts = [number * self.hop for number in range(1 + max(0, int(spare / self.hop + 1e-6)))]
        if spare - starts[-1] >= _LEAST_PART * self.seconds:
            starts.append(spare)
        return starts


def batched(windows: Iterable[_Item]) -> Iterator[list[_Item]]:
    """What comes, in lists of `BATCH`."""
    remaining = iter(windows)
    while some := list(islice(remaining, BATCH)):
        yield some


def windows_of(
    source: Sound | Path | str, cut: Cut, file: soundfile.SoundFile | None = None
) -> Iterator[tuple[float, Tensor]]:
    """Start in seconds and samples ``(T,)`` float32 of each window of a whole file, decoded as for training.

    Args:
        source: The file.
        cut: How it becomes windows.
        file: The same, where it is `opened` already; closed after the last window.

    Raises:
        AudioError: The file cannot be used.
    """
    whole = source if isinstance(source, Sound) else Sound(Path(source))
    with opened(whole, cut.channel) if file is None else file as file:
        length = file.frames / file.samplerate
        if length <= LONGEST_AT_ONCE:
            yield from _windows(decode_opened(file, whole, cut.sample_rate, cut.channel), length, cut)
            return
        for start in cut.starts(length):
            part = whole._replace(start=start, seconds=min(cut.seconds, length - start))
            samples = decode_opened(file, part, cut.sample_rate, cut.channel)
            yield start, fitted(*in_16_bits(samples), cut)


def windows_of_array(
    samples: NDArray[np.floating] | Tensor, sample_rate: int, cut: Cut
) -> Iterator[tuple[float, Tensor]]:
    """The same of samples ``(T,)`` or ``(T, C)`` in [-1, 1] at `sample_rate` Hz.

    Raises:
        AudioError: No samples, samples that are not finite, far beyond full scale, or all zero, or a wrong rate or
            channel.
    """
    mono = _checked(np.asarray(samples, np.float32), sample_rate, cut.channel)
    length = len(mono) / sample_rate
    if sample_rate != cut.sample_rate:
        mono = soxr.resample(mono, sample_rate, cut.sample_rate, quality="HQ")
        if len(mono) == 0:
            raise AudioError(f"the samples: too few to be resampled from {sample_rate} to {cut.sample_rate} Hz")
    exact = np.rint(mono * 32768)
    if np.array_equal(exact / np.float32(32768), mono) and exact.max() <= 32767:
        yield from _windows(exact.astype(np.int16), length, cut)  # as the 16-bit file they came from
    else:
        yield from _windows(mono.clip(-1, 1), length, cut)


def _checked(samples: NDArray[np.float32], sample_rate: int, channel: int | None) -> NDArray[np.float32]:
    if sample_rate <= 0:
        raise AudioError(f"the samples: sample_rate is {sample_rate}; give the rate in Hz")
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"the samples: shape {samples.shape}; give (T,) or (T, C), with at least one sample")
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise AudioError("the samples: some are not finite (NaN or infinity); mend the recording")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"the samples: they reach {peak:.3g} where full scale is 1; scale them to [-1, 1]")
    if samples.ndim == 2:
        if channel is not None and channel >= samples.shape[1]:
            raise AudioError(f"the samples: no channel {channel}, there are {samples.shape[1]} (counted from 0)")
        samples = samples.mean(1, dtype=np.float32) if channel is None else samples[:, channel]
    if not samples.any():
        raise AudioError("the samples: silent, every one is zero; check the microphone")
    return samples


def _windows(
    samples: NDArray[np.int16] | NDArray[np.float32], length: float, cut: Cut
) -> Iterator[tuple[float, Tensor]]:
    rounded, step = in_16_bits(samples)
    for start in cut.starts(length):
        first = round(start * cut.sample_rate)
        part = rounded[first : first + cut.samples]
        if len(part):
            yield start, fitted(part, step, cut)


def fitted(part: NDArray[np.int16], step: float, cut: Cut) -> Tensor:
    """``(n,)`` steps to ``(T,)`` values, trimmed or padded."""
    out = part[: cut.samples].astype(np.float32)
    out *= np.float32(step)
    if len(out) < cut.samples:
        out = np.resize(out, cut.samples) if cut.pad == "repeat" else np.pad(out, (0, cut.samples - len(out)))
    return torch.from_numpy(out)
