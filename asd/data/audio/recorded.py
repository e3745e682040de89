"""How a recording was made, measured in what it holds: rate, bandwidth, codec, channels, level and noise floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asd.data.audio.audio_file import AudioFile
from asd.data.audio.bandwidth import bandwidth, frame_samples, powers
from asd.data.audio.channels import Channel
from asd.data.audio.decoding import opened, taken
from asd.data.audio.samples import Samples
from asd.data.clip import Sound

_FRAMES_AT_ONCE, _MOST_FRAMES = 64, 512
_QUIET = 0.05
"""Part of the frames that are quieter than the others: their level is that of the noise between the sounds."""

_LEAST = 1e-12
_CODECS = {"MPEG_LAYER_III": "mp3", "MPEG_LAYER_II": "mp2", "MPEG_LAYER_I": "mp1", "ULAW": "mu-law", "ALAW": "a-law"}
_LOSSLESS = ("PCM", "FLOAT", "DOUBLE", "ALAC")
FOREIGN = "aac or the like"
"""What needs ffmpeg to be decoded, such as the m4a of a phone."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How one recording was made.

    Attributes:
        sample_rate: Hz, its own.
        bandwidth: Hz up to which there is sound, see `asd.data.audio.bandwidth`.
        channels: Number of channels.
        codec: The container of a lossless file, such as ``wav``; else the codec, such as ``mp3``; empty: not known.
        lossy: Whether the codec leaves out what is hard to hear.
        level: RMS in dB relative to full scale.
        floor: The same of its quietest twentieth.
    """

    sample_rate: int
    bandwidth: float
    channels: int
    codec: str
    lossy: bool
    level: float
    floor: float


class Meter:
    """Takes the samples of a recording at their own rate, as they come, and tells how it was made.

    The level is that of all samples, the rest that of frames spread evenly over them, so that it costs a few
    milliseconds whatever the length.

    Args:
        sample_rate: Hz; 0: `open` tells.
        channels: Number of channels of the recording.
    """

    def __init__(self, sample_rate: int = 0, channels: int = 1) -> None:
        self.sample_rate, self.channels, self.codec, self.lossy = sample_rate, channels, "", False
        self._energy, self._samples = 0.0, 0
        self._power = np.zeros(0)
        self._levels: list[float] = []

    def open(self, file: AudioFile) -> None:
        """Take note of what the file says of itself."""
        self.sample_rate, self.channels = file.samplerate, file.channels
        self.codec, self.lossy = codec_of(file)

    @property
    def seconds(self) -> float:
        """What was heard."""
        return self._samples / self.sample_rate if self.sample_rate else 0.0

    def add(self, samples: Samples) -> None:
        """Take the next samples ``(T,)`` of one channel, or of the mean of all."""
        scale = np.float32(1 / 32768 if samples.dtype == np.int16 else 1)
        self._samples += len(samples)
        values = samples * scale
        self._energy += float(np.vdot(values, values))
        size = frame_samples(self.sample_rate)
        count = len(samples) // size
        most = min(count, _FRAMES_AT_ONCE, _MOST_FRAMES - len(self._levels))
        if most > 0:
            rows = np.linspace(0, count - 1, most).round().astype(int)
            frames = values[: count * size].reshape(count, size)[rows]
            self._power = powers(frames) + (self._power if len(self._power) else 0)
            self._levels += np.square(frames).mean(1, dtype=np.float64).tolist()

    def recorded(self) -> Recorded | None:
        """How it was made; ``None``: less than a frame was heard, or nothing in it."""
        count = len(self._levels)
        if not count or self._energy <= 0:
            return None
        # What was silent for a while was stopped there, or cut together: it tells nothing of the noise.
        heard = [one for one in self._levels if one > _LEAST] or [_LEAST]
        return Recorded(
            self.sample_rate,
            bandwidth(self._power / count, self.sample_rate),
            self.channels,
            self.codec,
            self.lossy,
            _decibels(self._energy / self._samples),
            _decibels(float(np.quantile(heard, _QUIET))),
        )


def codec_of(file: AudioFile) -> tuple[str, bool]:
    """The name of a file's codec, see `Recorded`, and whether it is lossy."""
    if file.format == "RAW":
        return FOREIGN, True
    if file.subtype.startswith(_LOSSLESS):
        return file.format.partition("EX")[0].lower(), False
    return _CODECS.get(file.subtype, file.subtype.lower().replace("_", "-")), True


def measured(sound: Sound | Path | str, channel: Channel = None, longest: float = 60.0) -> Recorded | None:
    """How a recording, or a part of one, was made; a long one is heard for its first `longest` seconds alone.

    Raises:
        AudioError: It cannot be used.
    """
    sound = sound if isinstance(sound, Sound) else Sound(Path(sound))
    seconds = longest if sound.seconds is None else min(longest, sound.seconds)
    with opened(sound, channel) as file:
        meter = Meter()
        meter.open(file)
        meter.add(taken(file, sound._replace(seconds=seconds), channel)[0])
        return meter.recorded()


def _decibels(power: float) -> float:
    return float(10 * np.log10(max(power, _LEAST)))
