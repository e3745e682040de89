"""Many recordings scored together: decoded ahead in threads, in batches that windows of several share.

Where the passes have every core, these rest while one runs: what computes beside a pass makes each of its threads wait
for the slowest, which costs more than is gained. What only waits, for a share, goes on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

import torch
from torch import Tensor

from asd.data.audio.decoding import AudioError
from asd.data.audio.recorded import Meter
from asd.inference.windows import BATCH, Cut, windows_of
from asd.utils.ahead import offer
from asd.utils.forks import usable_cores

OnError = Callable[[AudioError], object]

_PATIENCE = 0.5
"""Seconds that a window waits for others at most: who looks on sees a line soon, however slow the files come."""
_THREADS = 4
"""That decode, at most: more get little done beside one another, and each holds a batch of windows of a long file."""
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


_Found = Queue[_Window | _End]


class _Ahead:
    """Decodes in threads, about a batch of windows ahead, and tells of each recording in its turn, where it ends."""

    def __init__(self, paths: Iterable[Path], cut: Cut) -> None:
        self._paths, self._cut = iter(paths), cut
        self._files: Queue[_Found] = Queue(BATCH)
        self._first: _Found | None = None
        self._ahead, self._taken = 0, threading.Condition()
        self._claims = threading.Lock()
        self._unwanted, self._core_free = threading.Event(), threading.Event()
        self._core_free.set()
        for _ in range(min(_THREADS, usable_cores())):
            # One that waits for a share that is away must not keep the program from its end.
            threading.Thread(target=self._run, name="asd-decode", daemon=True).start()

    def close(self) -> None:
        """No more is wanted."""
        self._unwanted.set()
        self._core_free.set()
        self._count(0)

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
        found, windows, latest = [self._next()], 0, time.monotonic() + _PATIENCE
        while not _is_last(found[-1]):
            windows += isinstance(found[-1], _Window)
            if windows == BATCH:
                break
            try:
                # Ends that nothing waits before are told at once.
                left = latest - time.monotonic() if windows else 0.0
                found.append(self._next(max(left, 0)))
            except Empty:
                break
        self._count(-windows)
        return found

    def _next(self, patience: float | None = None) -> _Window | _End:
        if self._first is None:
            self._first = self._files.get(patience != 0, patience)
        one = self._first.get(patience != 0, patience)
        if isinstance(one, _End):
            self._first = None
        return one

    def _count(self, windows: int) -> None:
        with self._taken:
            self._ahead += windows
            self._taken.notify_all()

    def _run(self) -> None:
        while (claimed := self._claim()) is not None:
            path, found = claimed
            try:
                self._decode(Heard(path), found)
            except Exception as error:  # noqa: BLE001 - raised where it is read
                offer(found, _End(None, error), self._unwanted)

    def _claim(self) -> tuple[Path, _Found] | None:
        """The next recording, once a window is wanted, and what is to hold its windows; ``None`` after the last."""
        with self._claims:
            with self._taken:
                self._taken.wait_for(lambda: self._ahead < BATCH or self._unwanted.is_set())
            if self._unwanted.is_set():
                return None
            found: _Found = Queue(BATCH)
            end = _End(None)
            try:
                path = next(self._paths, None)
            except Exception as error:  # noqa: BLE001 - raised where it is read
                path, end = None, _End(None, error)
            if path is None:
                self._paths = iter(())
                found.put(end)
            return (path, found) if offer(self._files, found, self._unwanted) and path is not None else None

    def _decode(self, heard: Heard, found: _Found) -> None:
        clock = _Clock()
        try:
            for start, samples in windows_of(heard.path, self._cut, meter=heard.meter):
                self._count(1)
                works = clock.works()
                if not offer(found, _Window(heard, start, samples), self._unwanted):
                    return
                if works:
                    self._core_free.wait()
                clock = _Clock()
        except AudioError as error:
            heard.error = error
        offer(found, _End(heard), self._unwanted)
        if clock.works():
            self._core_free.wait()


class _Clock:
    """Of what a thread does from now on."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.thread_time()

    def works(self) -> bool:
        """Whether it was computing, rather than waiting for what it reads."""
        return time.thread_time() - self._start[1] > _WORKS * (time.perf_counter() - self._start[0])


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
