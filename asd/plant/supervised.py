"""A live source that may end, stall or jump, and comes back by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import numpy as np

from asd.errors import UserError
from asd.inference.stream import Block, buffered
from asd.plant.live import STALL_SECONDS, Opened, opened
from asd.plant.options import SourceOptions

_JUMP_SECONDS = 20.0
"""By how much less sound than time is a jump: streams over networks come in pieces of up to ten seconds."""

_DRIFT = 1e-3
"""Of the clock of a source against this one, at most."""

_STEADY_SECONDS = 10.0
_NOTHING = np.empty((0, 1), np.float32)


class Supervised:
    """Opens a source again and again, with pauses that grow, and tells what became of it.

    Args:
        source: What to open.
        tell: Called with a state, as of `asd.plant.reporting.Reporter`, and the reason.
        stop: Set where listening is to end.
        pause: Seconds before it is opened again; doubled each time it ends soon.
        longest: Seconds of such a pause at most.
        opener: What opens it.
    """

    def __init__(
        self,
        source: SourceOptions,
        tell: Callable[[str, str], None],
        stop: threading.Event,
        pause: float = 1.0,
        longest: float = 60.0,
        opener: Callable[[SourceOptions], Opened] = opened,
    ) -> None:
        self.source, self._tell, self.stop = source, tell, stop
        self.stall = source.stall or STALL_SECONDS
        self._first_pause, self._longest, self._opener = pause, longest, opener
        self._pause = pause
        self._opened: Opened | None = None
        self._last = time.monotonic()
        self._quiet = False  # nothing comes, and that was told
        # Seconds of sound, with what was lost, against the time that passed: how far ahead it was at best.
        self._begin, self._heard, self._ahead = time.monotonic(), 0.0, -np.inf

    def rate(self) -> int:
        """Sample rate in Hz, once the source is open, however long that takes; 0: listening is to end."""
        return self._open(lambda why: self._tell("away", why))

    def _open(self, failed: Callable[[str], None]) -> int:
        while not self.stop.is_set():
            if self._opened is None:
                try:
                    self._opened = self._opener(self.source)
                except (OSError, UserError) as error:
                    failed(_line(error))
                    self.wait()
                    continue
            return self._opened.sample_rate
        return 0

    def blocks(self, seconds: float) -> Generator[Block, None, None]:
        """The sound, of which so many seconds wait at most, until listening is to end or the rate changes."""
        self._last, self._quiet = time.monotonic(), False
        over = threading.Event()
        try:
            for block in buffered(self._read(over), seconds, self.rate() or 1, self._idle):
                if self.stop.is_set():
                    return
                self._last, self._quiet = time.monotonic(), block.state is not None
                if block.state is not None:
                    self._tell(*block.state)
                else:
                    yield block
        except GeneratorExit:  # whoever listened will have no more of it: it is opened anew, for another reader
            over.set()
            self.interrupt()
            self._opened = None
            raise

    def interrupt(self) -> None:
        """Make who waits for sound look whether listening is to end."""
        if self._opened is not None:
            self._opened.interrupt()

    def _read(self, over: threading.Event) -> Iterator[Block]:
        """The same, read by another thread; what becomes of the source lies between the blocks."""
        again = False
        rate = self.rate()
        while (current := self._opened) is not None:
            began, why = time.monotonic(), "it ended"
            try:
                for block in current.blocks:
                    if self.stop.is_set() or over.is_set():
                        return
                    if time.monotonic() - began > _STEADY_SECONDS:
                        self._pause = self._first_pause
                    yield self._placed(block, rate, again)
                    again = False
            except (OSError, UserError) as error:
                why = _line(error)
            current.interrupt()
            if self.stop.is_set() or over.is_set():
                return
            self._opened, again = None, True
            if not self._quiet:  # or else it was interrupted, for a reason that was told
                yield Block(_NOTHING, state=("away", why))
            self.wait()
            # Why it cannot be opened again is not told: what was heard before may not be judged yet.
            if (new := self._open(lambda _: None)) != rate:
                if new:
                    yield Block(_NOTHING, state=("away", f"its sample rate changed from {rate} to {new} Hz"))
                return

    def _placed(self, block: Block, rate: int, again: bool) -> Block:
        """The block, with what was lost before it: while the source was away, or where it jumped in time."""
        self._heard += len(block.samples) / rate
        ahead = self._heard - (time.monotonic() - self._begin)
        missing = max(self._ahead - ahead, 1 / rate) if again or ahead < self._ahead - _JUMP_SECONDS else 0.0
        if not np.isfinite(missing):  # nothing came before
            missing = 0.0
        self._heard += missing
        self._ahead = max(ahead + missing, self._ahead - _DRIFT * len(block.samples) / rate)
        return replace(block, lost=block.lost + round(missing * rate)) if missing else block

    def _idle(self) -> bool:
        """Nothing comes: tell where that lasts; returns whether to go on waiting."""
        quiet = time.monotonic() - self._last
        if quiet > self.stall and not self._quiet:
            self._quiet = True
            self._tell("stalled", f"no sound for {self.stall:g} s")
            self.interrupt()
        return not self.stop.is_set()

    def wait(self) -> None:
        """Wait before it is opened again."""
        self.stop.wait(self._pause)
        self._pause = min(2 * self._pause, self._longest)


def _line(error: Exception) -> str:
    name = getattr(error, "filename", None)
    said = f"{name}: {error.strerror}" if isinstance(error, OSError) and name else str(error)
    return " ".join(said.split()) or type(error).__name__
