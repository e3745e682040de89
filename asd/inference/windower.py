"""Sound that keeps coming, cut into windows for a detector."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio.band import Resampler
from asd.data.audio.channels import NEAR_MINUS_FAR, heard, why_missing
from asd.data.audio.decoding import resampled
from asd.data.audio.ram_cache import in_16_bits
from asd.data.audio.recorded import Meter
from asd.data.audio.samples import Samples, why_broken, why_dead
from asd.errors import UserError
from asd.inference.stream import Block
from asd.inference.windows import Cut, fitted

_METERED_SECONDS = 60.0


class Windower:
    """Cuts a stream into windows as it comes, at the rate of the detector.

    Args:
        cut: Rate, length and hop of the windows.
        sample_rate: Hz of the stream.
        begin: Seconds of it that came before.

    Attributes:
        time: Seconds of the stream up to the last sample that was taken.
        unusable: Windows in which nothing can be heard, or that are no sound; they are left out.
        left_out: Those that the last block completed: when each begins, in seconds, and why it is left out.
        meter: Knows how the stream is recorded.
    """

    def __init__(self, cut: Cut, sample_rate: int, begin: float = 0.0) -> None:
        self.cut, self.rate = cut, sample_rate
        self.time = begin
        self.unusable = 0
        self.left_out: list[tuple[float, str]] = []
        self.meter = Meter(sample_rate)
        self._pairs = cut.channel == NEAR_MINUS_FAR
        self._restart()

    def _restart(self) -> None:
        # Of two channels windows are cut first; each is subtracted and then resampled, as a window of a file is.
        self._held_rate, band = (self.rate, None) if self._pairs else (self.cut.sample_rate, self.cut.band)
        self._resampler = Resampler(self.rate, self._held_rate, band)
        self._held = np.empty((0, 2) if self._pairs else 0, np.float32)
        # Whether something can be heard is told before resampling, which rings on where a sound ends.
        self._own, self._own_begin = np.empty(0, np.float32), self.time
        self._begin = self.time
        self._skip = 0

    def push(self, block: Block) -> Iterator[tuple[float, Tensor]]:
        """Start in seconds and samples ``(T,)`` of every window that the block completes; then see `left_out`.

        Raises:
            UserError: There is one channel where two are needed.
        """
        self.left_out = []
        if block.lost:
            self.time += block.lost / self.rate
            self._restart()
        self.time += len(block.samples) / self.rate
        sound = self._wanted(block.samples)
        if not self._pairs:
            self._measure(sound)
        yield from self._take(sound)

    def finish(self) -> Iterator[tuple[float, Tensor]]:
        """The same of the windows that the end of the stream, or a gap, completes: a resampler holds sound back."""
        self.left_out = []
        yield from self._take(self._held[:0], last=True)

    def _take(self, sound: NDArray[np.float32], last: bool = False) -> Iterator[tuple[float, Tensor]]:
        if not self._resampler.idle:
            self._own = np.concatenate([self._own, sound])
            sound = self._resampler.push(sound, last)
        self._held = np.concatenate([self._held, sound])
        size, hop = (round(seconds * self._held_rate) for seconds in (self.cut.seconds, self.cut.hop))
        while True:
            if self._skip:  # a hop longer than a window leaves sound out
                gone = min(self._skip, len(self._held))
                self._held, self._skip = self._held[gone:], self._skip - gone
            if self._skip or len(self._held) < size:
                return
            part: Samples = self._held[:size]
            start = self._begin
            self._begin += hop / self._held_rate
            self._skip = max(0, hop - len(self._held))
            self._held = self._held[hop:]
            own = part if self._resampler.idle else self._own_of(start)
            why = why_broken(own) or why_broken(part) or why_dead(own)
            if self._pairs and not why:
                part, why = self._subtracted(part)
            if why:
                self.unusable += 1
                self.left_out.append((start, why))
                continue
            yield start, fitted(*in_16_bits(part.clip(-1, 1)), self.cut)

    def _own_of(self, start: float) -> NDArray[np.float32]:
        """The samples of a window as they came; those before it are forgotten."""
        self._own = self._own[max(0, round((start - self._own_begin) * self.rate)) :]
        self._own_begin = start
        return self._own[: round(self.cut.seconds * self.rate)]

    def _wanted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of ``(n, C)`` one channel ``(n,)``, or the two ``(n, 2)`` of which one is subtracted."""
        channel = self.cut.channel
        if channel == NEAR_MINUS_FAR:
            if missing := why_missing(channel, samples.shape[1], "the stream has"):
                raise UserError(f"{missing}; give the sound of both microphones (--channels 2)")
            return samples[:, :2]
        if channel is None or channel >= samples.shape[1]:
            return np.ascontiguousarray(samples.mean(1, dtype=np.float32))
        return np.ascontiguousarray(samples[:, channel])

    def _subtracted(self, pair: Samples) -> tuple[Samples, str]:
        """Of a window ``(n, 2)`` what is heard, at the rate of the detector, and why that is nothing."""
        near, why = heard(pair, self.cut.channel, self.rate)
        if why:
            return near, why
        self._measure(near)
        return resampled(near, self.rate, self.cut.sample_rate, "the stream", self.cut.band), ""

    def _measure(self, sound: Samples) -> None:
        if self.meter.seconds < _METERED_SECONDS:
            self.meter.add(sound)
