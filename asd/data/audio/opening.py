"""Opening audio files: whole, and of known length."""

from __future__ import annotations

import contextlib
import functools
import io
import mmap
import os
from pathlib import Path
from typing import BinaryIO

import soundfile

from asd.data.audio import containers, ffmpeg, framed
from asd.data.audio.audio_file import AudioError, AudioFile, Endless, reason
from asd.data.audio.channels import Channel, why_missing
from asd.data.audio.spliced import Spliced
from asd.data.audio.tar_members import read_member
from asd.data.clip import Sound

_RATES = (100, 2_000_000)


def opened(sound: Sound | Path | str, channel: Channel = None, at_most: float | None = None) -> AudioFile:
    """The file of a sound, whole, after the checks of `asd.data.audio.decoding.read_header`; close it.

    Args:
        sound: The file, or a part of it.
        channel: The channel that must be there, unless the sound says another.
        at_most: Seconds that are wanted; the caller refuses a file that promises more. One that does not say its length
            is looked at no further, and seems to end a little later.
    """
    sound = sound if isinstance(sound, Sound) else Sound(Path(sound))
    try:
        file = _opened(sound, at_most)
    except AudioError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if sound.member is None and sound.content is None and not sound.path.exists():
            raise AudioError(f"{sound}: no such file") from error
        raise AudioError(f"{sound}: cannot be read as audio ({reason(error)}); replace or remove the file") from error
    file.sound = sound
    try:
        _check(file, channel if sound.channel is None else sound.channel)
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
            else:
                file = AudioFile(_named(sound, source))
            if promise.head or isinstance(source, io.BytesIO):  # which it reads from
                stack.pop_all()
        except soundfile.SoundFileError:
            if promise.head or not promise.may_be_foreign:
                raise
            return _foreign(sound, at_most)
        file.sound, file.remark = sound, promise.remark
        if promise.no_length_at:
            file.goes_on = _is_beyond(file, at_most)
        if file.frames > containers.MOST_PER_BYTE * promise.size and not _is_beyond(file, at_most):
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
    return sound.path.open("rb", buffering=0)


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
    with Endless(_named(sound, source)) as file:
        file.sound = sound
        return file.counted(at_most)


def _foreign(sound: Sound, at_most: float | None) -> AudioFile:
    if sound.member is None and sound.content is None:
        samples = ffmpeg.decoded(sound.path, at_most)
    else:
        samples = ffmpeg.decoded_bytes(_source(sound).read(), at_most)
    if samples.file.seek(0, io.SEEK_END) == 0:
        raise AudioError(f"{sound}: holds no samples; remove or replace the file")
    # A place of its own in the file for each that reads it, in threads and forked workers.
    mapped = mmap.mmap(samples.file.fileno(), 0, access=mmap.ACCESS_READ)
    file = AudioFile(mapped, "r", samples.sample_rate, samples.channels, "PCM_16", "LITTLE", "RAW")
    file.goes_on = _is_beyond(file, at_most)
    return file


def _is_beyond(file: AudioFile, at_most: float | None) -> bool:
    return at_most is not None and bool(file.frames > at_most * file.samplerate)


def _check(file: AudioFile, channel: Channel) -> None:
    if file.frames <= 0:
        raise AudioError(f"{file.sound}: holds no samples; remove or replace the file")
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise AudioError(f"{file.sound}: its rate is {file.samplerate} Hz; replace or remove the file")
    if missing := why_missing(channel, file.channels):
        remedy = "give recordings of both microphones, or train with other data.channels, such as mean"
        raise AudioError(f"{file.sound}: {missing}; {remedy}")
