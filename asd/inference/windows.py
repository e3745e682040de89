"""Recordings cut into windows of the length that a detector was trained on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio.band import LEAST_BAND, MOST_BAND
from asd.data.audio.channels import NEAR_MINUS_FAR, Channel, channel_of, heard, selected, why_missing
from asd.data.audio.decoding import AudioError, AudioFile, opened, resampled, taken, unusable
from asd.data.audio.ram_cache import in_16_bits
from asd.data.audio.recorded import Meter
from asd.data.audio.samples import Samples, why_broken, why_dead, zeros_at_end
from asd.data.clip import Sound
from asd.data.dataset import LAST_WINDOW, Pad
from asd.errors import Notice, UserError

LONGEST_AT_ONCE = 300.0
"""Seconds up to which a file is decoded as a whole; a longer one is decoded window by window, in bounded memory."""

MOST_AT_ONCE = 60_000_000
"""Samples of all channels up to which the same holds: five minutes at 192 kHz, or at 48 kHz of four channels."""

BATCH = 16
"""Windows that go through a model at once."""

LEAST_TO_JUDGE = 0.1
"""Part of a window that a recording must last: in less, repeated or followed by zeros, no machine can be heard."""

_ARRAY = "the samples"
_LONGEST_WINDOW = 3600.0


@dataclass(frozen=True)
class Cut:
    """How recordings are cut.

    Attributes:
        sample_rate: Hz of the windows.
        seconds: Length of a window.
        hop: Seconds from one window to the next.
        pad: What follows a window that is too short: the sound again, or zeros.
        channel: The channel to take, see `asd.data.audio.channels`.
        band: Hz of bandwidth that is left, see `asd.data.audio.band`; ``None``: all.
    """

    sample_rate: int
    seconds: float
    hop: float
    pad: Pad = "repeat"
    channel: Channel = None
    band: float | None = None

    def with_hop(self, hop: float) -> Cut:
        """The same with another distance.

        Raises:
            UserError: Not above 0 s.
        """
        if not 0 < hop < math.inf:
            raise UserError(f"hop is {hop}; give seconds above 0")
        return replace(self, hop=hop)

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.sample_rate)

    def alone(self, length: float) -> bool:
        """Whether each window of so long a recording is decoded by itself, as those of a stream are."""
        return self.channel == NEAR_MINUS_FAR and len(self.starts(length)) > 1

    def starts(self, length: float) -> list[float]:
        """Where the windows of a recording of so many seconds begin.

        The last one ends with the recording where half a window or more is left after those that follow one another.
        """
        spare = length - self.seconds
        starts = [number * self.hop for number in range(1 + max(0, int(spare / self.hop + 1e-6)))]
        if spare - starts[-1] >= LAST_WINDOW * self.seconds:
            starts.append(spare)
        return starts


def cut_as_trained(data: Any, sample_rate: int) -> Cut:
    """How recordings are cut for a detector that was trained at `sample_rate` Hz with those options of its data.

    Raises:
        UserError: Options that no training has.
    """
    if not isinstance(data, Mapping):
        raise UserError("what the checkpoint says of its data is broken; give one that `asd fit` wrote")
    seconds, pad = data.get("seconds", 10.0), data.get("pad", "repeat")
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_WINDOW:
        raise UserError(f"data.seconds of the checkpoint is {str(seconds)[:50]}; give one that `asd fit` wrote")
    if pad not in get_args(Pad):
        raise UserError(f"data.pad of the checkpoint is {str(pad)[:50]}; give one that `asd fit` wrote")
    try:
        channel = channel_of(data.get("channels"), data.get("channel"))
    except UserError as error:
        raise UserError(f"{error}: the checkpoint is broken, give one that `asd fit` wrote") from error
    band = data.get("band")
    if band is not None and (not isinstance(band, int | float) or not LEAST_BAND <= band <= MOST_BAND):
        raise UserError(f"data.band of the checkpoint is {str(band)[:50]}; give one that `asd fit` wrote")
    return Cut(sample_rate, float(seconds), float(seconds), pad, channel, band)


def windows_of(
    source: Sound | Path | str,
    cut: Cut,
    file: AudioFile | None = None,
    on_unusable: Callable[[float, str], None] | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[float, Tensor]]:
    """Start in seconds and samples ``(T,)`` float32 of each window of a whole file, decoded as for training.

    Windows in which nothing can be heard are left out.

    Args:
        source: The file.
        cut: How it becomes windows.
        file: The same, where it is `opened` already; closed after the last window.
        on_unusable: Called with the start of each window that is left out, and why; ``None``: a `Notice` at the end.
        meter: Told how the file was recorded.

    Raises:
        AudioError: The file cannot be used, is too short, or nothing can be heard in any window.
    """
    whole = source if isinstance(source, Sound) else Sound(Path(source))
    with opened(whole, cut.channel) if file is None else file as file:
        length = file.frames / file.samplerate
        check_length(str(whole), length, cut)
        if file.remark:
            warnings.warn(f"{whole}: {file.remark}", Notice, stacklevel=2)
        meter = Meter() if meter is None else meter
        meter.open(file)
        yield from _living(str(whole), _of_file(file, whole, length, cut, meter), on_unusable)


def windows_of_array(
    samples: NDArray[np.floating] | Tensor, sample_rate: int, cut: Cut, meter: Meter | None = None
) -> Iterator[tuple[float, Tensor]]:
    """The same of samples ``(T,)`` or ``(T, C)`` in [-1, 1] at `sample_rate` Hz.

    Raises:
        AudioError: No samples, too few, samples that are no sound or in which nothing can be heard, or a wrong rate or
            channel.
    """
    own = _checked(np.asarray(samples, np.float32), sample_rate, cut.channel)
    length = len(own) / sample_rate
    check_length(_ARRAY, length, cut)
    meter = Meter() if meter is None else meter
    meter.sample_rate = sample_rate
    if cut.alone(length):

        def part(at: float, seconds: float) -> tuple[Samples, str]:
            return heard(own[round(at * sample_rate) :][: round(seconds * sample_rate)], cut.channel, sample_rate)

        yield from _living(_ARRAY, _one_by_one(part, sample_rate, _ARRAY, length, cut, meter))
        return
    mono, dead = heard(own, cut.channel, sample_rate)
    if dead:
        raise unusable(_ARRAY, dead)
    meter.add(mono)
    at_rate = resampled(mono.copy(), sample_rate, cut.sample_rate, _ARRAY, cut.band)
    exact = np.rint(at_rate * 32768)
    if np.array_equal(exact / np.float32(32768), at_rate) and exact.max() <= 32767:
        at_rate = exact.astype(np.int16)  # as the 16-bit file they came from
    yield from _living(_ARRAY, _parts(mono, sample_rate, at_rate, length, cut))


def check_length(name: str, length: float, cut: Cut) -> None:
    """Raise `AudioError` for a recording of so many seconds that is too short to be judged."""
    least = LEAST_TO_JUDGE * cut.seconds
    if length < least:
        raise AudioError(
            f"{name}: too short to judge, {length:.3g} s; {least:.3g} s are needed, a tenth of the {cut.seconds:g} s "
            "that the detector listens to; give a longer recording"
        )


def _checked(samples: NDArray[np.float32], sample_rate: int, channel: Channel) -> Samples:
    """Of ``(T,)``, which has no channels to choose of, or ``(T, C)`` what `channels.heard` needs."""
    if sample_rate <= 0:
        raise AudioError(f"{_ARRAY}: sample_rate is {sample_rate}; give the rate in Hz")
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(f"{_ARRAY}: shape {samples.shape}; give (T,) or (T, C), with at least one sample")
    if broken := why_broken(samples):
        raise AudioError(f"{_ARRAY}: {broken}; mend the recording")
    if samples.ndim == 1 and channel != NEAR_MINUS_FAR:
        return samples
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if missing := why_missing(channel, channels, "they have"):
        raise AudioError(f"{_ARRAY}: {missing}; give all channels, as (T, C)")
    return selected(samples, channel)


def _of_file(
    file: AudioFile, whole: Sound, length: float, cut: Cut, meter: Meter
) -> Iterator[tuple[float, Tensor | str]]:
    """Start of each window, and its samples or why nothing can be heard in it."""
    rate = file.samplerate
    if length <= LONGEST_AT_ONCE and file.frames * file.channels <= MOST_AT_ONCE and not cut.alone(length):
        samples, dead = taken(file, whole, cut.channel)
        if dead:
            raise unusable(str(whole), dead)
        meter.add(samples)
        if zeros := zeros_at_end(samples, rate):
            warnings.warn(
                f"{whole}: ends in {zeros:.1f} s of zeros, its recorder may have stopped", Notice, stacklevel=2
            )
        at_rate = resampled(samples, rate, cut.sample_rate, str(whole), cut.band)
        yield from _parts(samples, rate, at_rate, length, cut)
        return
    yield from _one_by_one(
        lambda at, seconds: taken(file, whole._replace(start=at, seconds=seconds), cut.channel),
        rate, str(whole), length, cut, meter,
    )  # fmt: skip


def _one_by_one(
    part: Callable[[float, float], tuple[Samples, str]], rate: int, name: str, length: float, cut: Cut, meter: Meter
) -> Iterator[tuple[float, Tensor | str]]:
    """The same, each from the samples that `part` gives from its start, for so many seconds."""
    for start in cut.starts(length):
        samples, dead = part(start, min(cut.seconds, length - start))
        if dead:
            yield start, dead
        else:
            meter.add(samples)
            yield start, fitted(*in_16_bits(resampled(samples, rate, cut.sample_rate, name, cut.band)), cut)


def _parts(
    samples: Samples, rate: int, at_rate: Samples, length: float, cut: Cut
) -> Iterator[tuple[float, Tensor | str]]:
    """The same of samples ``(T,)`` as they came, and at the rate of the windows.

    Whether something can be heard is told before resampling, which rings on where a sound ends.
    """
    rounded, step = in_16_bits(at_rate)
    for start in cut.starts(length):
        first = round(start * cut.sample_rate)
        part = rounded[first : first + cut.samples]
        own = samples[round(start * rate) : round((start + cut.seconds) * rate)]
        if len(part) and len(own):
            dead = why_dead(own) if len(own) < len(samples) else ""
            yield start, dead or fitted(part, step, cut)


def _living(
    name: str,
    windows: Iterable[tuple[float, Tensor | str]],
    on_unusable: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[float, Tensor]]:
    count, left_out = 0, []
    for start, window in windows:
        count += 1
        if isinstance(window, Tensor):
            yield start, window
        else:
            left_out.append((start, window))
            if on_unusable is not None:
                on_unusable(start, window)
    if not left_out:
        return
    start, why = left_out[0]
    if len(left_out) == count:
        raise unusable(name, why)
    if on_unusable is None:
        told = f"{len(left_out)} of {count} windows are unusable and left out, the first at {start:g} s: {why}"
        warnings.warn(f"{name}: {told}", Notice, stacklevel=3)


def fitted(part: NDArray[np.int16], step: float, cut: Cut) -> Tensor:
    """``(n,)`` steps to ``(T,)`` values, trimmed or padded."""
    out = part[: cut.samples].astype(np.float32)
    out *= np.float32(step)
    if len(out) < cut.samples:
        out = np.resize(out, cut.samples) if cut.pad == "repeat" else np.pad(out, (0, cut.samples - len(out)))
    return torch.from_numpy(out)
