"""Recordings to windows for `edge.py`, which `asd export` joins this file to: numpy and soundfile, nothing of asd.

What a window holds is what `asd.inference.windows` puts into it, sample by sample; tests hold both together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

try:
    import soxr
except ImportError:
    soxr = None

Array = np.ndarray[Any, np.dtype[Any]]

LONGEST_AT_ONCE, MOST_AT_ONCE = 300.0, 60_000_000
"""Seconds, and samples of all channels, up to which a file is decoded as a whole; else window by window."""

CUTOFF, BETA, HALF_WIDTH = 0.95687, 13.04, 96.84
"""The filter of soxr's high quality, measured: a sinc that halves the amplitude at this part of the lower Nyquist
frequency, under a Kaiser window of this shape and so many samples of the lower rate to each side."""

LOST = {"MP3": 2304, "OGG": 8192}
"""Samples at the end that a codec may keep to itself."""


class Unusable(Exception):  # noqa: N818 - it is said of recordings
    """A recording, folder or bundle by which nothing can be judged, and why."""


class Cut(NamedTuple):
    """How recordings become windows.

    Attributes:
        rate: Hz of the windows.
        seconds: Length of a window.
        hop: Seconds from one window to the next.
        pad: What follows a recording that is too short: ``repeat``, the sound again, or zeros.
        channel: The channel to take, from 0; ``None``: the mean of all.
        stop: Hz from which on nothing but hiss is left; ``None``: all is.
    """

    rate: int
    seconds: float
    hop: float
    pad: str
    channel: int | None
    stop: float | None

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.rate)

    def starts(self, length: float) -> list[float]:
        """Where the windows of so many seconds begin; the last ends with them where half a window or more is left."""
        spare = length - self.seconds
        starts = [number * self.hop for number in range(1 + max(0, int(spare / self.hop + 1e-6)))]
        return [*starts, spare] if spare - starts[-1] >= self.seconds / 2 else starts


class Recording:
    """A file, its windows, and how it was made.

    Args:
        path: The file.
        cut: How it becomes windows.
        left_out: Called with the start of each window in which nothing can be heard, and why.
    """

    def __init__(self, path: Path, cut: Cut, left_out: Callable[[float, str], None]) -> None:
        try:
            self.file = soundfile.SoundFile(path)
        except (soundfile.SoundFileError, OSError) as error:
            raise Unusable(f"cannot be read as audio ({error})" if path.exists() else "no such file") from error
        self.cut, self.left_out = cut, left_out
        self.rate, self.channels = self.file.samplerate, self.file.channels
        self.seconds = self.file.frames / self.rate
        self.energy, self.heard = 0.0, 0
        if cut.channel is not None and cut.channel >= self.channels:
            raise Unusable(f"no channel {cut.channel}, the file has {self.channels} (counted from 0)")
        if self.seconds < cut.seconds / 10:
            raise Unusable(f"too short to judge, {self.seconds:.3g} s; {cut.seconds / 10:.3g} s are needed")

    def windows(self) -> Iterator[tuple[float, Array]]:
        """Start in seconds and samples ``(T,)`` float32 of each window in which something can be heard."""
        dead, count = "", 0
        with self.file:
            at_once = self.seconds <= LONGEST_AT_ONCE and self.file.frames * self.channels <= MOST_AT_ONCE
            for start, own, steps, step in self._whole() if at_once else self._one_by_one():
                # Asked of what was recorded: resampling rings on where a sound ends.
                if why := why_dead(own):
                    self.left_out(start, why)
                    dead = dead or why
                    continue
                count += 1
                window = steps.astype(np.float32) * np.float32(step)
                if self.cut.pad == "repeat":
                    yield start, np.resize(window, self.cut.samples)
                else:
                    yield start, np.pad(window, (0, self.cut.samples - len(window)))
        if not count:
            raise Unusable(f"{dead}; check the sensor")

    def _whole(self) -> Iterator[tuple[float, Array, Array, float]]:
        """Of each window its start, its samples as recorded, and in 16 bits at its rate with the value of a step."""
        whole = self._take(0, self.file.frames)
        steps, step = in_16_bits(resampled(whole, self.rate, self.cut.rate, self.cut.stop))
        for start in self.cut.starts(self.seconds):
            own = whole[round(start * self.rate) : round((start + self.cut.seconds) * self.rate)]
            yield start, own, steps[round(start * self.cut.rate) :][: self.cut.samples], step

    def _one_by_one(self) -> Iterator[tuple[float, Array, Array, float]]:
        """The same in bounded memory."""
        for start in self.cut.starts(self.seconds):
            own = self._take(round(start * self.rate), round(self.cut.seconds * self.rate))
            steps, step = in_16_bits(resampled(own, self.rate, self.cut.rate, self.cut.stop))
            yield start, own, steps[: self.cut.samples], step

    def _take(self, start: int, frames: int) -> Array:
        """Samples ``(T,)`` of what is listened to: int16 where the file holds just these."""
        frames = min(frames, self.file.frames - start)
        try:
            self.file.seek(start)
            samples = self.file.read(frames, "int16" if self.file.subtype == "PCM_16" else "float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise Unusable(f"cannot be decoded to its end ({error}); copy it again") from error
        if len(samples) < max(1, frames - LOST.get(self.file.format, 0)):
            raise Unusable(f"cut short, it promises {self.file.frames} samples; copy it again")
        if not np.abs(in_float(samples)).max() <= 2:
            raise Unusable("holds samples that are not finite, or far beyond full scale")
        if self.cut.channel is None and self.channels > 1:
            mono: Array = in_float(samples).mean(axis=1, dtype=np.float32)
        else:
            mono = samples[:, self.cut.channel or 0]
        self.energy += float(np.square(in_float(mono)).sum(dtype=np.float64))
        self.heard += len(mono)
        return mono

    def recorded_otherwise(self, usual: dict[str, Any]) -> str:
        """How it differs from the normal sound, as far as that is seen at once; empty: it does not."""
        told = []
        if self.rate < 0.9 * min(usual["sample_rate"][0], self.cut.rate):
            told.append(f"sampled at {self.rate} Hz where {usual['sample_rate'][0]:.0f} Hz was learned")
        if self.channels not in usual["channels"]:
            said = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
            verb = "was" if usual["channels"] == [1] else "were"
            told.append(f"{said} where {' or '.join(map(str, usual['channels']))} {verb} learned")
        (low, high), level = usual["level"], 10 * math.log10(max(self.energy / max(1, self.heard), 1e-12))
        if not low - 12 <= level <= high + 12:
            span = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
            told.append(f"a level of {level:.0f} dBFS where {span} was learned")
        return f"recorded otherwise: {'; '.join(told)}" if told else ""


def why_dead(samples: Array) -> str:
    """Why samples ``(T,)`` tell nothing of a machine; empty: they do."""
    values = in_float(samples)
    low, high = float(values.min()), float(values.max())
    peak, level = max(high, -low), min(-low, high, 1.0)
    if level >= 0.9 and float(np.abs(values).min()) >= 0.999 * level:
        return "nothing but clipping, every sample is at full scale"
    if high - low < max(2.0**-23, 2.0**-17 * peak):
        return f"constant, every sample is {high:.3g} of full scale" if peak else "silent, every sample is zero"
    return ""


def in_float(samples: Array) -> Array:
    """Samples in [-1, 1] as float32."""
    return samples * np.float32(1 / 32768) if samples.dtype == np.int16 else samples


def in_16_bits(samples: Array) -> tuple[Array, float]:
    """Samples as those of training: in 16 bits, others scaled to their peak; and the value of a step."""
    if samples.dtype == np.int16:
        return samples, 1 / 32768
    step = np.nextafter(np.float32(max(np.abs(samples).max(), 1e-30)) / np.float32(32767), np.float32(0))
    return np.rint(samples / step).astype(np.int16), float(step)


def resampled(samples: Array, rate: int, wanted: int, stop: float | None) -> Array:
    """Samples ``(T,)`` at another rate, with nothing but a faint hiss from `stop` Hz on."""
    length, between = round(len(samples) * wanted / rate), wanted if stop is None else round(2 * stop)
    for after in (between, wanted) if between < min(rate, wanted) else (wanted,):
        samples, rate = samples if after == rate else at_rate(in_float(samples), rate, after), after
    if stop is not None and between < wanted:
        samples = np.pad(in_float(samples), (0, max(0, length - len(samples))))[:length]
        samples = samples + np.resize(hiss(wanted, stop), length)
    return samples if samples.dtype == np.int16 else samples.clip(-1, 1)


def at_rate(samples: Array, rate: int, wanted: int) -> Array:
    """Samples ``(T,)`` float32 at another rate: by soxr, or by the same filter as a product of spectra."""
    if soxr is not None:
        return np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"))
    up, down = (one // math.gcd(rate, wanted) for one in (wanted, rate))  # samples of each that last equally long
    part = min(1.0, wanted / rate)
    half = math.ceil(HALF_WIDTH / part)
    at = np.arange(-half, half + 1) * part
    window = np.i0(BETA * np.sqrt(np.maximum(0, 1 - (at / HALF_WIDTH) ** 2))) / np.i0(BETA)
    blocks = -(-(len(samples) + 2 * half) // down)
    blocks += -blocks % (1 << max(0, blocks.bit_length() - 4))  # transforms are fast where the factors are small
    kernel = np.pad(up / down * CUTOFF * part * np.sinc(CUTOFF * at) * window, (0, blocks * down - len(at)))
    spectrum = np.fft.rfft(samples, blocks * down) * np.fft.rfft(np.roll(kernel, -half).astype(np.float32))
    found = np.fft.irfft(spectrum[: blocks * up // 2 + 1], blocks * up)
    return found[: round(len(samples) * wanted / rate)].astype(np.float32)


@lru_cache
def hiss(rate: int, stop: float) -> Array:
    """A second of the noise that was learned in the place of what is left out above `stop` Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=rate))
    spectrum[: math.ceil(stop)] = 0
    noise = np.fft.irfft(spectrum, rate)
    return (noise * (10 ** (-85 / 20) / float(noise.std()))).astype(np.float32)
