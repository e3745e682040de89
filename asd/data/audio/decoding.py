"""Reading audio files: any rate, any number of channels, one clear error for each that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd.data.audio import band as bands
from asd.data.audio.audio_file import AudioError, AudioFile
from asd.data.audio.channels import PCM_STEP, Channel, heard, in_float, selected, why_missing
from asd.data.audio.containers import MOST_PER_BYTE
from asd.data.audio.opening import opened
from asd.data.audio.samples import Samples, why_broken
from asd.data.clip import Sound


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


def read_header(sound: Sound | Path | str, channel: Channel = None) -> Header:
    """Check and describe a file, or the part of it that is meant, without decoding it.

    The header of a member of an archive is known without reading it.

    Raises:
        AudioError: Missing, not audio, cut short, without samples, or without that channel.
    """
    sound = _sound(sound)
    known = sound.member
    told = known is not None and 0 < known.frames <= MOST_PER_BYTE * known.size
    asked = channel if sound.channel is None else sound.channel
    if known is not None and told and sound.seconds is None and not why_missing(asked, known.channels):
        return Header(known.sample_rate, known.channels, known.frames)
    with opened(sound, channel) as file:
        _, frames = _span(sound, file)
        file.check_end()
        return Header(file.samplerate, file.channels, frames)


def decode(sound: Sound | Path | str, sample_rate: int, channel: Channel = None, band: float | None = None) -> Samples:
    """Samples ``(T,)``: int16 where the file holds just these, else float32 in [-1, 1].

    Args:
        sound: A file, or a part of one.
        sample_rate: Hz to resample to (soxr, high quality).
        channel: The channel to take, where the sound does not say it, see `asd.data.audio.channels`.
        band: Hz of bandwidth that all recordings have, see `asd.data.audio.band`; ``None``: no limit.

    Raises:
        AudioError: See `read_header`; or fewer samples than are promised, or samples that cannot be judged, see
            `asd.data.audio.samples`.
    """
    with opened(sound, channel) as file:
        return decode_opened(file, _sound(sound), sample_rate, channel, band)


def decode_opened(
    file: AudioFile, sound: Sound, sample_rate: int, channel: Channel = None, band: float | None = None
) -> Samples:
    """The same of a sound whose file is `opened`, and stays so."""
    samples, dead = taken(file, sound, channel)
    if dead:
        raise unusable(str(sound), dead)
    return resampled(samples, file.samplerate, sample_rate, str(sound), band)


def taken(file: AudioFile, sound: Sound, channel: Channel) -> tuple[Samples, str]:
    """Samples ``(T,)`` at the file's own rate, and why nothing can be heard in them, see `channels.heard`.

    Raises:
        AudioError: There are fewer than promised, they cannot be decoded, or are no sound.
    """
    start, frames = _span(sound, file)
    file.go_to(start)
    samples = file.taken(frames, "int16" if file.subtype == "PCM_16" else "float32")
    asked = channel if sound.channel is None else sound.channel
    samples = selected(samples, asked)
    if broken := why_broken(samples):
        raise unusable(str(sound), broken)
    return heard(samples, asked, file.samplerate)


def resampled(samples: Samples, rate: int, sample_rate: int, name: str, band: float | None = None) -> Samples:
    """Samples ``(T,)`` in [-1, 1] at another rate, and within a band; int16 where nothing is to be done."""
    if len(bands.rates(rate, sample_rate, band)) > 1:
        samples = bands.resample(in_float(samples), rate, sample_rate, band)
        if len(samples) == 0:
            raise AudioError(f"{name}: too short to be resampled from {rate} to {sample_rate} Hz; remove the file")
    if samples.dtype != np.int16:
        np.clip(samples, -1, 1, out=samples)  # in place: fresh memory takes longer than the work
    return samples if samples.flags.c_contiguous else samples.copy()


def unusable(name: str, why: str) -> AudioError:
    """The error of a recording that is no sound, or in which nothing can be heard."""
    return AudioError(f"{name}: {why}; it is unusable, check the sensor, and replace or remove the recording")


def read(sound: Sound | Path | str, sample_rate: int, channel: Channel = None) -> NDArray[np.float32]:
    """Samples ``(T,)`` float32 in [-1, 1] at `sample_rate` Hz; arguments and errors as for `decode`."""
    return in_float(decode(sound, sample_rate, channel))


def _sound(given: Sound | Path | str) -> Sound:
    return given if isinstance(given, Sound) else Sound(Path(given))


def _span(sound: Sound, file: AudioFile) -> tuple[int, int]:
    """First sample and number of samples of the part that is meant."""
    start = round(sound.start * file.samplerate)
    frames = file.frames - start
    if sound.seconds is not None:
        frames = min(frames, round(sound.seconds * file.samplerate))
    if frames <= 0:
        raise AudioError(f"{sound}: begins beyond the end of the file; list the recordings anew")
    return start, frames


__all__ = [
    "PCM_STEP", "AudioError", "AudioFile", "Header", "decode", "decode_opened", "opened", "read", "read_header",
    "resampled", "taken", "unusable",
]  # fmt: skip
