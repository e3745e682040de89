"""How the normal recordings of a machine were made, and whether another one was made otherwise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from asd.data.audio import band as bands
from asd.data.audio.channels import Channel
from asd.data.audio.recorded import Recorded, measured
from asd.data.clip import Sound
from asd.errors import UserError
from asd.utils import strict_json

OTHERWISE = "recorded otherwise"
MOST = 64
"""Recordings of a machine that are measured."""

_LESS = 0.9
"""Part of the usual bandwidth below which one is less, and of another one below which the usual one is."""

_BEYOND_NYQUIST = 1.25
"""A resampler lets through a part of what lies so little above half the rate of an encoder."""

_NARROW = 0.75
"""Part of the widest bandwidth below which the narrowest of recordings limits all of them; filters differ by less."""

_LOUDNESS_DB = 12.0
"""What lies so far outside the usual levels is another gain, place or machine; faults are hardly ever as loud."""

_LONGEST_TEXT = 100_000
_HERTZ, _DECIBELS = (0.0, 1e7), (-300.0, 100.0)
_Range = tuple[float, float]


@dataclass(frozen=True)
class UsualRecording:
    """Of the normal recordings of a machine, the lowest and the highest of what `Recorded` has of each.

    Attributes:
        recordings: How many were measured.
        sample_rate: Hz.
        bandwidth: Hz.
        level: dB relative to full scale.
        floor: The same.
        channels: Numbers of channels, ascending.
        codecs: Their names, sorted.
        lossy: Whether any codec is lossy.
    """

    recordings: int
    sample_rate: _Range
    bandwidth: _Range
    level: _Range
    floor: _Range
    channels: tuple[int, ...]
    codecs: tuple[str, ...]
    lossy: bool

    @classmethod
    def of(cls, recordings: Iterable[Recorded]) -> Self | None:
        """What recordings have in common; ``None``: there are none."""
        every = list(recordings)
        if not every:
            return None
        return cls(
            recordings=len(every),
            sample_rate=_ends(one.sample_rate for one in every),
            bandwidth=_ends(one.bandwidth for one in every),
            level=_ends(one.level for one in every),
            floor=_ends(one.floor for one in every),
            channels=tuple(sorted({one.channels for one in every})),
            codecs=tuple(sorted({one.codec for one in every if one.codec})),
            lossy=any(one.lossy for one in every),
        )

    def to_json(self) -> str:
        """The same as text."""
        return strict_json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` wrote; nothing in it is trusted.

        Raises:
            UserError: It would not write that.
        """
        try:
            found: Any = strict_json.loads(text) if len(text) <= _LONGEST_TEXT else None
            return cls(
                recordings=_number(found["recordings"], 1, 10**9),
                sample_rate=_range(found["sample_rate"], *_HERTZ),
                bandwidth=_range(found["bandwidth"], *_HERTZ),
                level=_range(found["level"], *_DECIBELS),
                floor=_range(found["floor"], *_DECIBELS),
                channels=tuple(_number(one, 1, 10**4) for one in found["channels"]),
                codecs=tuple(_name(one) for one in found["codecs"]),
                lossy=found["lossy"] is True,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                "what the checkpoint says of how its recordings were made is broken; give one that `asd fit` wrote"
            ) from error

    def otherwise(self, one: Recorded, sample_rate: int, band: float | None = None) -> list[str]:
        """How a recording differs from the usual, a few words each.

        What cannot be heard is no difference: a detector hears up to half its sample rate, and no further than a limit
        of its band.

        Args:
            one: The recording.
            sample_rate: Hz of the detector.
            band: Hz up to which the detector listens; ``None``: to half its rate.
        """
        return [*self._bandwidth(one, sample_rate, band), *self._format(one), *self._loudness(one)]

    def _bandwidth(self, one: Recorded, sample_rate: int, band: float | None) -> Iterator[str]:
        low, high = self.bandwidth
        heard = min(sample_rate / 2, math.inf if band is None else band)
        needed = min(low, _BEYOND_NYQUIST * sample_rate / 2 if band is None else heard)
        if one.bandwidth < _LESS * needed:
            yield f"{_width(one.bandwidth)} of bandwidth where {_width(low)} was learned{self._rate(one)}"
        elif _LESS * min(one.bandwidth, heard) > high:
            yield f"{_width(one.bandwidth)} of bandwidth where {_width(high)} was learned"

    def _rate(self, one: Recorded) -> str:
        low = self.sample_rate[0]
        return f" (sampled at {one.sample_rate / 1000:.4g} kHz, not {low / 1000:.4g})" if one.sample_rate < low else ""

    def _format(self, one: Recorded) -> Iterator[str]:
        if one.lossy and not self.lossy and self.codecs:
            yield f"{one.codec}, a lossy codec, where {_listed(self.codecs)} was learned"
        if one.codec and one.channels not in self.channels:
            count = f"{one.channels} channel{'s' if one.channels > 1 else ''}"
            yield f"{count} where {_listed(self.channels)} {'was' if self.channels == (1,) else 'were'} learned"

    def _loudness(self, one: Recorded) -> Iterator[str]:
        """One of both: where all is louder, so is its quietest part."""
        for name, value, (low, high) in (("level", one.level, self.level), ("noise floor", one.floor, self.floor)):
            if not low - _LOUDNESS_DB <= value <= high + _LOUDNESS_DB:
                yield f"a {name} of {value:.0f} dBFS where {_span(low, high)} was learned"
                return


def usual_recording(
    sounds: Sequence[Sound], channel: Channel = None, kind: Callable[[Sound], Hashable] = lambda sound: None
) -> UsualRecording | None:
    """How recordings were made; of many, `MOST` that are spread evenly are measured, and one of each kind.

    A file of another suffix is a kind of its own as well.

    Raises:
        AudioError: A recording cannot be used.
    """
    spread = {round(at * (len(sounds) - 1) / (MOST - 1)) for at in range(MOST)} if len(sounds) > MOST else ()
    first: dict[Hashable, int] = {}
    for at, sound in enumerate(sounds):
        first.setdefault((sound.path.suffix, kind(sound)), at)
    rows = sorted({*spread, *list(first.values())[:MOST]}) if spread else range(len(sounds))
    found = (measured(sounds[row], channel) for row in rows)
    return UsualRecording.of(one for one in found if one is not None)


def shared_band(every: Iterable[UsualRecording], sample_rate: int) -> float | None:
    """Hz of the bandwidth that all recordings have; ``None``: no limit is needed.

    None is where all have about the same, or all have more than a detector of `sample_rate` Hz hears.
    """
    ends = [one.bandwidth for one in every]
    if not ends:
        return None
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return low if low < _NARROW * high and bands.stop(low) < sample_rate / 2 else None


def remark(differences: Iterable[str]) -> str:
    """The line that tells of differences; empty: there are none."""
    told = "; ".join(differences)
    return f"{OTHERWISE}: {told}" if told else ""


def _ends(values: Iterable[float]) -> _Range:
    every = [float(one) for one in values]
    return min(every), max(every)


def _range(value: Any, least: float, most: float) -> _Range:
    low, high = (strict_json.finite(end) for end in value)
    if not least <= low <= high <= most:
        raise ValueError("no range")
    return low, high


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("no number")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 40:
        raise ValueError("no name")
    return value


def _width(hertz: float) -> str:
    return f"{hertz / 1000:.2g} kHz"


def _listed(values: Iterable[object]) -> str:
    return " or ".join(map(str, values))


def _span(low: float, high: float) -> str:
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
