"""Reading audio files: any rate, any number of channels, one clear error for each that cannot be used."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asd.data.clip import Sound
from asd.data.foreign import FOREIGN, as_wav
from asd.data.members import read_member
from asd.errors import UserError

PCM_STEP = 1 / 32768
"""Value of one step of a 16-bit sample."""

FULL_SCALE_LIMIT = 2.0
"""Lossy codecs and resampling overshoot full scale a little; beyond this the file is scaled differently."""

_Samples = NDArray[np.int16] | NDArray[np.float32]
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


def read_header(sound: Sound | Path | str, channel: int | None = None) -> Header:
    """Check and describe a file, or the part of it that is meant, without decoding it.

    The header of a member of an archive is known without reading it.

    Raises:
        AudioError: Missing, not audio, cut short, without samples, or without that channel.
    """
    sound = _sound(sound)
    known = sound.member
    if known is not None and known.frames > 0 and sound.seconds is None and (channel or 0) < known.channels:
        return Header(known.sample_rate, known.channels, known.frames)
    with opened(sound, channel) as file:
        _, frames = _span(sound, file)
        return Header(file.samplerate, file.channels, frames)


def decode(sound: Sound | Path | str, sample_rate: int, channel: int | None = None) -> _Samples:
    """Samples ``(T,)``: int16 where the file holds just these, else float32 in [-1, 1].

    Args:
        sound: A file, or a part of one.
        sample_rate: Hz to resample to (soxr, high quality).
        channel: The channel to take; ``None``: the mean of all.

    Raises:
        AudioError: See `read_header`; or samples that are not finite, far beyond full scale, or all zero.
    """
    with opened(sound, channel) as file:
        return decode_opened(file, _sound(sound), sample_rate, channel)


def decode_opened(file: soundfile.SoundFile, sound: Sound, sample_rate: int, channel: int | None = None) -> _Samples:
    """The same of a sound whose file is `opened`, and stays so."""
    start, frames = _span(sound, file)
    rate, one = file.samplerate, file.channels == 1 or channel is not None
    in_steps = file.subtype == "PCM_16"
    exact = in_steps and rate == sample_rate and one
    try:
        if file.tell() != start:
            file.seek(start)
        samples = file.read(frames, dtype="int16" if in_steps else "float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{sound}: cannot be decoded ({_reason(error)}); replace the file") from error
    if in_steps and not exact:
        samples = samples * np.float32(PCM_STEP)  # the same values as libsndfile's float32, in a third of its time
    elif not in_steps:
        _check_range(sound, samples)
    mono = samples[:, channel or 0] if one else samples.mean(axis=1, dtype=np.float32)
    if not mono.any():
        raise AudioError(f"{sound}: silent, every sample is zero; remove or replace the file")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
        if len(mono) == 0:
            raise AudioError(f"{sound}: too short to be resampled from {rate} to {sample_rate} Hz; remove the file")
    # In place: fresh memory takes longer than the work.
    return np.ascontiguousarray(mono if exact else mono.clip(-1, 1, out=mono))


def read(sound: Sound | Path | str, sample_rate: int, channel: int | None = None) -> NDArray[np.float32]:
    """Samples ``(T,)`` float32 in [-1, 1] at `sample_rate` Hz; arguments and errors as for `decode`."""
    samples = decode(sound, sample_rate, channel)
    return samples * np.float32(PCM_STEP) if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def opened(sound: Sound | Path | str, channel: int | None = None) -> soundfile.SoundFile:
    """The file of a sound, whole, after the checks of `read_header`; close it."""
    sound = _sound(sound)
    try:
        file = soundfile.SoundFile(_readable(sound))
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        if sound.member is None and sound.content is None and not sound.path.exists():
            raise AudioError(f"{sound}: no such file") from error
        raise AudioError(f"{sound}: cannot be read as audio ({_reason(error)}); replace or remove the file") from error
    try:
        _check(sound, file, channel)
    except AudioError:
        file.close()
        raise
    return file


def _check(sound: Sound, file: soundfile.SoundFile, channel: int | None) -> None:
    cut = _CUT_SHORT.search(file.extra_info)
    if cut and int(cut[2]) < int(cut[1]) and int(cut[1]) not in _UNKNOWN_LENGTHS:
        raise AudioError(f"{sound}: cut short, {cut[2]} of {cut[1]} bytes of sound are there; copy the file again")
    if file.frames <= 0:
        raise AudioError(f"{sound}: holds no samples; remove or replace the file")
    if channel is not None and not 0 <= channel < file.channels:
        raise AudioError(
            f"{sound}: no channel {channel}, the file has {file.channels} (counted from 0); "
            "choose another channel, or none for the mean of all"
        )


def _sound(given: Sound | Path | str) -> Sound:
    return given if isinstance(given, Sound) else Sound(Path(given))


def _span(sound: Sound, file: soundfile.SoundFile) -> tuple[int, int]:
    """First sample and number of samples of the part that is meant."""
    start = round(sound.start * file.samplerate)
    frames = file.frames - start
    if sound.seconds is not None:
        frames = min(frames, round(sound.seconds * file.samplerate))
    if frames <= 0:
        raise AudioError(f"{sound}: begins beyond the end of the file; list the recordings anew")
    return start, frames


def _readable(sound: Sound) -> Path | bytes | io.BytesIO:
    """What soundfile can open."""
    if sound.content is not None:
        return io.BytesIO(sound.content)
    if sound.member is not None:
        return io.BytesIO(read_member(sound.member))
    if sound.path.suffix.casefold() in FOREIGN and sound.path.exists():
        return io.BytesIO(as_wav(sound.path))
    # By its bytes, which need not be text; Windows knows names as text alone.
    return sound.path if os.name == "nt" else os.fsencode(sound.path)


def _check_range(path: Sound, samples: NDArray[np.float32]) -> None:
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise AudioError(f"{path}: holds samples that are not finite (NaN or infinity); remove or replace the file")
    if peak > FULL_SCALE_LIMIT:
        raise AudioError(f"{path}: samples reach {peak:.3g} where full scale is 1; scale the file to [-1, 1]")


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error))
    return " ".join(text.split()).rstrip(".") or type(error).__name__
