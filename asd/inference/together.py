"""Many recordings scored together: decoded ahead in a thread, in batches that windows of several share.

Where the passes have every core, the thread rests while one runs: what computes beside a pass makes each of its threads
wait for the slowest, which costs more than the thread gets done. What only waits, for a share, goes on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue

import torch
from torch import Tensor

from asd.data.audio.decoding import AudioError
from asd.data.audio.recorded import Meter
from asd.inference.windows import BATCH, Cut, windows_of
from asd.utils.forks import usable_cores

OnError = Callable[[AudioError], object]

_PATIENCE = 0.5
"""Seconds that a window waits for others at most: who looks on sees a line soon, however slow the files come."""
_LOOK = 0.1
"""Seconds after which the thread looks whether it is still wanted."""
_WORKS = 0.5
"""Part of its time in which a thread computes, from which on it works; below, it waits for what it reads."""


@dataclass(eq=False)
class Heard:
    """A recording, as far as it is scored.

    Attributes:
        path: The file.
        meter: Knows how it was recorded, at the end.
        windows: Start and score of each window.
        error: Why it cannot be used, where it cannot.
    """

    path: Path
    meter: Meter = field(default_factory=Meter)
    windows: list[tuple[float, float]] = field(default_factory=list)
    error: AudioError | None = None

    def scores(self) -> list[tuple[float, float]]:
        """Start and score of each window; raises why the recording cannot be used."""
        if self.error is not None:
            raise self.error
        return self.windows


@dataclass(frozen=True)
class _Window:
    of: Heard
    start: float
    samples: Tensor


@dataclass(frozen=True)
class _End:
    of: Heard | None
    error: Exception | None = None


class _Ahead:
    """Decodes in a thread, a batch of windows ahead at most, and tells of each recording where it ends."""

    def __init__(self, paths: Iterable[Path], cut: Cut) -> None:
        self._paths, self._cut = paths, cut
        self._found: Queue[_Window | _End] = Queue(BATCH)
        self._unwanted = threading.Event()
        self._core_free = threading.Event()
        self._core_free.set()
        # A thread that waits for a share that is away must not keep the program from its end.
        threading.Thread(target=self._run, name="asd-decode", daemon=True).start()

    def close(self) -> None:
        """No more is wanted."""
        self._unwanted.set()
        self._core_free.set()

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """A time in which no core is free."""
        self._core_free.clear()
        try:
            yield
        finally:
            self._core_free.set()

    def some(self) -> list[_Window | _End]:
        """What comes next: a batch of windows, or what there is after a while; at the end, an end of nothing."""
        found, windows, latest = [self._found.get()], 0, time.monotonic() + _PATIENCE
        while not _is_last(found[-1]):
            windows += isinstance(found[-1], _Window)
            if windows == BATCH:
                break
            try:
                # Ends that nothing waits before are told at once.
                left = latest - time.monotonic() if windows else 0.0
                found.append(self._found.get(left > 0, max(left, 0)))
            except Empty:
                break
        return found

    def _run(self) -> None:
        self._began = time.perf_counter(), time.thread_time()
        try:
            for path in self._paths:
                if not self._decoded(Heard(path)):
                    return
        except Exception as error:  # noqa: BLE001 - raised where it is read
            self._put(_End(None, error))
        else:
            self._put(_End(None))

    def _decoded(self, heard: Heard) -> bool:
        """Whether more is wanted after the windows of a recording."""
        try:
            for start, samples in windows_of(heard.path, self._cut, meter=heard.meter):
                if not self._put(_Window(heard, start, samples)):
                    return False
        except AudioError as error:
            heard.error = error
        return self._put(_End(heard))

    def _put(self, one: _Window | _End) -> bool:
        """Hand over what was found, and wait until the next is to be looked for; whether it is wanted."""
        took, computed = time.perf_counter() - self._began[0], time.thread_time() - self._began[1]
        while not self._unwanted.is_set():
            try:
                self._found.put(one, timeout=_LOOK)
            except Full:
                continue
            if computed > _WORKS * took:
                self._core_free.wait()
            self._began = time.perf_counter(), time.thread_time()
            return True
        return False


def _is_last(one: _Window | _End) -> bool:
    return isinstance(one, _End) and one.of is None


def scored_together(
    paths: Iterable[Path], cut: Cut, score: Callable[[Sequence[Tensor]], list[float]], device: torch.device
) -> Iterator[Heard]:
    """Each recording in its turn, once its windows are scored or it is known that it cannot be used.

    Args:
        paths: The files.
        cut: How they become windows.
        score: Scores of so many windows ``(T,)``, `BATCH` at most.
        device: Where it does.
    """
    no_core_free = device.type == "cpu" and torch.get_num_threads() >= usable_cores()
    ahead = _Ahead(paths, cut)
    beside = ahead.resting if no_core_free else contextlib.nullcontext
    try:
        while True:
            some = ahead.some()
            windows = [one for one in some if isinstance(one, _Window)]
            with beside():
                scores = iter(score([one.samples for one in windows]) if windows else ())
            for one in some:
                if isinstance(one, _Window):
                    one.of.windows.append((one.start, next(scores)))
                elif one.of is not None:
                    yield one.of
                elif one.error is not None:
                    raise one.error
                else:
                    return
    finally:
        ahead.close()


@contextlib.contextmanager
def told_to(on_error: OnError | None) -> Iterator[None]:
    """Within it, what is wrong with a recording is told instead of raised, where there is somebody to be told."""
    try:
        yield
    except AudioError as error:
        if on_error is None:
            raise
        on_error(error)
