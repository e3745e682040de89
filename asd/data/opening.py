"""Opening audio files: whole, of known length, and read to the end that they promise."""

from __future__ import annotations

import contextlib
import functools
import io
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import soundfile

from asd.data import containers, foreign, framed
from asd.data.clip import Sound
from asd.data.members import read_member
from asd.data.samples import Samples
from asd.data.spliced import Spliced
from asd.errors import UserError

_AT_ONCE = 1 << 22
"""Samples of all channels that are read at once; a header alone never makes more memory be taken."""

_RATES = (100, 2_000_000)
_LOST = {"MP3": 2304, "OGG": 8192}
"""Samples at the end that a codec may keep to itself."""


class AudioError(UserError):
    """An audio file that cannot be used; its message starts with the path."""

    def __init__(self, message: str) -> None:
        # A loader's worker passes an error on as its traceback, whose last line ends in the message.
        super().__init__(message.rstrip().rpartition(f"{type(self).__name__}: ")[2])


class AudioFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that raises `AudioError` where it holds less than it promises.

    Attributes:
        sound: What was opened.
        remark: What is worth knowing of it.
        goes_on: It did not say its length, and is longer than was asked for.
    """

    sound: Sound
    remark = ""
    goes_on = False

    def taken(self, frames: int, dtype: str) -> Samples:
        """The next samples ``(frames, C)``, int16 or float32.

        Raises:
            AudioError: There are fewer, beyond what codecs lose, or they cannot be decoded.
        """
        most = max(1, _AT_ONCE // self.channels)
        if frames <= most:
            return self._next(frames, dtype)
        return np.concatenate([self._next(min(left, most), dtype) for left in range(frames, 0, -most)])

    def parts(self, frames: int, dtype: str) -> Iterator[Samples]:
        """All that is left in parts ``(frames, C)``; the last may be shorter; errors as of `taken`."""
        left = self.frames - self.tell()
        while left > 0:
            samples = self._next(min(frames, left), dtype)
            left -= frames
            yield samples

    def _next(self, frames: int, dtype: str) -> Samples:
        samples = self._read(frames, dtype)
        missing = frames - len(samples)
        if missing and (missing > _LOST.get(self.format, 0) or self.tell() + missing < self.frames):
            raise AudioError(
                f"{self.sound}: cut short, it promises {self.frames} samples and holds {self.tell()}; "
                "copy the file again"
            )
        return samples

    def _read(self, frames: int, dtype: str) -> Samples:
        try:
            samples: Samples = self.read(frames, dtype=dtype, always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise self._broken(error) from error
        return samples

    def _broken(self, error: Exception) -> AudioError:
        return AudioError(
            f"{self.sound}: cut short or damaged, it cannot be decoded to its end ({reason(error)}); copy the file again"
        )

    def check_end(self) -> None:
        """Raise `AudioError` where it ends before the sample that it calls the last, if that is quickly seen."""
        if self.format == "FLAC":
            try:
                self.seek(self.frames - 1)
            except soundfile.SoundFileError as error:
                raise self._broken(error) from error
            self._next(1, "int16")

    def __enter__(self) -> Self:
        return self


class _Endless(AudioFile):
    """A file that does not say its length, and cannot be sought to its end."""

    def seekable(self) -> bool:
        return False

    def counted(self, at_most: float | None) -> int:
        """Samples that can be decoded; a few more than `at_most` seconds at the most."""
        limit = None if at_most is None else at_most * self.samplerate
        done = 0
        while samples := len(self._read(max(1, _AT_ONCE // (16 * self.channels)), "int16")):
            done += samples
            if limit is not None and done > limit:
                break
        return done


def opened(sound: Sound | Path | str, channel: int | None = None, at_most: float | None = None) -> AudioFile:
    """The file of a sound, whole, after the checks of `asd.data.audio.read_header`; close it.

    Args:
        sound: The file, or a part of it.
        channel: The channel that must be there.
        at_most: Seconds after which a file that does not say its length is looked at no further; it seems to end a
            little later.
    """
    sound = sound if isinstance(sound, Sound) else Sound(Path(sound))
    try:
        file = _opened(sound, at_most)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if sound.member is None and sound.content is None and not sound.path.exists():
            raise AudioError(f"{sound}: no such file") from error
        raise AudioError(f"{sound}: cannot be read as audio ({reason(error)}); replace or remove the file") from error
    file.sound = sound
    try:
        _check(file, channel)
    except AudioError:
        file.close()
        raise
    return file


def _opened(sound: Sound, at_most: float | None) -> AudioFile:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_source(sound))
        promise = containers.examine(source)
        if promise.fault:
            raise AudioError(f"{sound}: {promise.fault}")
        if promise.foreign:
            return _foreign(sound, at_most)
        if promise.no_length_at:
            frames = _count(sound, source, at_most)
            if frames == 0:
                raise AudioError(f"{sound}: holds no samples; remove or replace the file")
            promise = framed.with_length(source, promise.no_length_at, frames)
        try:
            if promise.head:
                file = AudioFile(Spliced(promise.head, source, promise.begin, promise.end))
                stack.pop_all()
            else:
                file = AudioFile(_named(sound, source))
        except soundfile.SoundFileError:
            if promise.head or not promise.may_be_foreign:
                raise
            return _foreign(sound, at_most)
        file.sound, file.remark = sound, promise.remark
        if promise.no_length_at:
            file.goes_on = _is_beyond(file, at_most)
        if file.frames > containers.MOST_PER_BYTE * promise.size:
            file.close()
            raise AudioError(
                f"{sound}: cut short, it promises {file.frames} samples, more than its {promise.size} bytes can hold; "
                "copy the file again"
            )
        return file


def _source(sound: Sound) -> BinaryIO:
    if sound.content is not None:
        return io.BytesIO(sound.content)
    if sound.member is not None:
        return io.BytesIO(read_member(sound.member))
    if not sound.path.is_file():  # opening a pipe would wait for its writer
        raise OSError("it is no file")
    return open(sound.path, "rb", buffering=0)  # type: ignore[return-value]  # a file on disk is read whole


def _named(sound: Sound, source: BinaryIO) -> bytes | str | BinaryIO:
    """What libsndfile opens: files by their path, which is faster than calls back into Python."""
    if isinstance(source, io.BytesIO):
        source.seek(0)
        return source
    return str(sound.path) if os.name == "nt" else os.fsencode(sound.path)


def _count(sound: Sound, source: BinaryIO, at_most: float | None) -> int:
    """Samples of a file that does not say it; of the last files they are kept."""
    if isinstance(source, io.BytesIO):
        return _counted(sound, source, at_most)
    facts = os.fstat(source.fileno())
    return _counted_file(sound.path, facts.st_size, facts.st_mtime_ns, at_most)


@functools.lru_cache(maxsize=1024)
def _counted_file(path: Path, size: int, changed: int, at_most: float | None) -> int:
    with path.open("rb") as source:
        return _counted(Sound(path), source, at_most)


def _counted(sound: Sound, source: BinaryIO, at_most: float | None) -> int:
    with _Endless(_named(sound, source)) as file:
        file.sound = sound
        return file.counted(at_most)


def _foreign(sound: Sound, at_most: float | None) -> AudioFile:
    if sound.member is None and sound.content is None:
        samples = foreign.decoded(sound.path, at_most)
    else:
        samples = foreign.decoded_bytes(_source(sound).read(), at_most)
    if samples.file.seek(0, io.SEEK_END) == 0:
        raise AudioError(f"{sound}: holds no samples; remove or replace the file")
    # A place of its own in the file for each that reads it, in threads and forked workers.
    mapped = mmap.mmap(samples.file.fileno(), 0, access=mmap.ACCESS_READ)
    file = AudioFile(mapped, "r", samples.sample_rate, samples.channels, "PCM_16", "LITTLE", "RAW")
    file.goes_on = _is_beyond(file, at_most)
    return file


def _is_beyond(file: AudioFile, at_most: float | None) -> bool:
    return at_most is not None and bool(file.frames > at_most * file.samplerate)


def _check(file: AudioFile, channel: int | None) -> None:
    if file.frames <= 0:
        raise AudioError(f"{file.sound}: holds no samples; remove or replace the file")
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise AudioError(f"{file.sound}: its rate is {file.samplerate} Hz; replace or remove the file")
    if channel is not None and not 0 <= channel < file.channels:
        raise AudioError(
            f"{file.sound}: no channel {channel}, the file has {file.channels} (counted from 0); "
            "choose another channel, or none for the mean of all"
        )


def reason(error: Exception) -> str:
    """What an exception says, on one line."""
    text = str(getattr(error, "error_string", "") or getattr(error, "strerror", "") or error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
