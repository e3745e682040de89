"""Reading audio files: any rate, any number of channels, one clear error for each that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asd.errors import UserError

PCM_STEP = 1 / 32768
"""Value of one step of a 16-bit sample."""

FULL_SCALE_LIMIT = 2.0
"""Lossy codecs and resampling overshoot full scale a little; beyond this the file is scaled differently."""

_CUT_SHORT = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
# Lengths that programs write while they do not know it yet: nothing is missing then.
_UNKNOWN_LENGTHS = {0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF}


class AudioError(UserError):
    """An audio file that cannot be used; its message starts with the path."""

    def __init__(self, message: str) -> None:
        # A loader's worker passes an error on as its traceback, whose last line ends in the message.
        super().__init__(message.rstrip().rpartition(f"{type(self).__name__}: ")[2])


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        sample_rate: Hz.
        channels: Number of channels.
        frames: Samples per channel.
    """

    sample_rate: int
    channels: int
    frames: int

    def samples_at(self, sample_rate: int) -> int:
        """The most samples that the file has at another rate, in Hz."""
        if sample_rate == self.sample_rate:
            return self.frames
        return -(-self.frames * sample_rate // self.sample_rate) + 1


def read_header(path: Path | str, channel: int | None = None) -> Header:
    """Check and describe a file without decoding it.

    Raises:
        AudioError: Missing, not audio, cut short, without samples, or without that channel.
    """
    with _opened(path, channel) as file:
        return Header(file.samplerate, file.channels, file.frames)


def decode(path: Path | str, sample_rate: int, channel: int | None = None) -> NDArray[np.int16] | NDArray[np.float32]:
    """Samples ``(T,)``: int16 where the file holds just these, else float32 in [-1, 1].

    Args:
        path: The file.
        sample_rate: Hz to resample to (soxr, high quality).
        channel: The channel to take; ``None``: the mean of all.

    Raises:
        AudioError: See `read_header`; or samples that are not finite, far beyond full scale, or all zero.
    """
    with _opened(path, channel) as file:
        rate, one = file.samplerate, file.channels == 1 or channel is not None
        exact = file.subtype == "PCM_16" and rate == sample_rate and one
        try:
            samples = file.read(dtype="int16" if exact else "float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(f"{path}: cannot be decoded ({_reason(error)}); replace the file") from error
    if not exact:
        _check_range(path, samples)
    mono = samples[:, channel or 0] if one else samples.mean(axis=1, dtype=np.float32)
    if not mono.any():
        raise AudioError(f"{path}: silent, every sample is zero; remove or replace the file")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
        if len(mono) == 0:
            raise AudioError(f"{path}: too short to be resampled from {rate} to {sample_rate} Hz; remove the file")
    return np.ascontiguousarray(mono if exact else mono.clip(-1, 1))


def read(path: Path | str, sample_rate: int, channel: int | None = None) -> NDArray[np.float32]:
    """Samples ``(T,)`` float32 in [-1, 1] at `sample_rate` Hz; arguments and errors as for `decode`."""
    samples = decode(path, sample_rate, channel)
    return samples * np.float32(PCM_STEP) if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


@contextmanager
def _opened(path: Path | str, channel: int | None) -> Iterator[soundfile.SoundFile]:
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        if not Path(path).exists():
            raise AudioError(f"{path}: no such file") from error
        raise AudioError(f"{path}: cannot be read as audio ({_reason(error)}); replace or remove the file") from error
    with file:
        cut = _CUT_SHORT.search(file.extra_info)
        if cut and int(cut[2]) < int(cut[1]) and int(cut[1]) not in _UNKNOWN_LENGTHS:
            raise AudioError(f"{path}: cut short, {cut[2]} of {cut[1]} bytes of sound are there; copy the file again")
        if file.frames <= 0:
            raise AudioError(f"{path}: holds no samples; remove or replace the file")
        if channel is not None and not 0 <= channel < file.channels:
            raise AudioError(
                f"{path}: no channel {channel}, the file has {file.channels} (counted from 0); "
                "choose another channel, or none for the mean of all"
            )
        yield file


def _check_range(path: Path | str, samples: NDArray[np.float32]) -> None:
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise AudioError(f"{path}: holds samples that are not finite (NaN or infinity); remove or replace the file")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{path}: samples reach {peak:.3g} where full scale is 1; scale the file to [-1, 1]")


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error))
    return " ".join(text.split()).rstrip(".") or type(error).__name__
