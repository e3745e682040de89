"""One thread that owns the model, and scores what waits in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from asd.inference import Detector
from asd.inference.windows import BATCH


@dataclass(frozen=True)
class _Scoring:
    windows: Sequence[Tensor]
    section: int
    future: Future[list[float]]


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]


class Worker:
    """Scores the windows of several recordings in one forward pass: those that wait when the model is free.

    The model is loaded in the thread, too: OpenMP keeps a team of threads for each thread that computes, and two teams
    on the same cores slow each other down.

    A long recording sends its windows a batch at a time, so that the short ones between get their turn.

    Args:
        load: Gives the detector.
        wait: Seconds to wait for more windows where fewer than a batch are there.
        observe: Told the number of windows of each batch.
    """

    def __init__(
        self,
        load: Callable[[], Detector],
        wait: float = 0.0,
        observe: Callable[[int], object] = lambda windows: None,
    ) -> None:
        self._loaded: Future[Detector] = Future()
        self._wait = wait
        self._observe = observe
        self._jobs: deque[_Scoring | _Call] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=[load], name="asd-model", daemon=True)
        self._thread.start()

    @property
    def detector(self) -> Detector:
        """The detector, once it is loaded; raises what loading it raised."""
        return self._loaded.result()

    def score(self, windows: Sequence[Tensor], section: int) -> Future[list[float]]:
        """Scores of windows ``(T,)``, a batch at most, against a section; cancel the future to take it back."""
        future: Future[list[float]] = Future()
        self._put(_Scoring(windows, section, future))
        return future

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """What `function` returns, called where the model is free."""
        future: Future[Any] = Future()
        self._put(_Call(function, future))
        return future

    def close(self, seconds: float | None = None) -> bool:
        """End after what waits is done; whether it has ended within so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _put(self, job: _Scoring | _Call) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def _run(self, load: Callable[[], Detector]) -> None:
        _answer(self._loaded, load)
        if self._loaded.exception():
            return
        with self.detector.weights_kept():
            while jobs := self._next():
                live = [job for job in jobs if job.future.set_running_or_notify_cancel()]
                if live and isinstance(live[0], _Call):
                    _answer(live[0].future, live[0].function)
                elif live:
                    self._score([job for job in live if isinstance(job, _Scoring)])

    def _next(self) -> list[_Scoring | _Call]:
        """One call, or scorings that fit into a batch; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if self._wait and self._jobs and isinstance(self._jobs[0], _Scoring):
                self._changed.wait_for(lambda: self._closed or self._ready() >= BATCH, self._wait)
            found: list[_Scoring | _Call] = []
            room = BATCH
            while self._jobs and (not found or _fits(self._jobs[0], room)):
                job = self._jobs.popleft()
                found.append(job)
                room -= len(job.windows) if isinstance(job, _Scoring) else BATCH
            return found

    def _ready(self) -> int:
        return sum(len(job.windows) for job in self._jobs if isinstance(job, _Scoring))

    def _score(self, together: Sequence[_Scoring]) -> None:
        windows = [window for job in together for window in job.windows]
        sections = [job.section for job in together for _ in job.windows]
        section = sections[0] if len(set(sections)) == 1 else sections
        self._observe(len(windows))
        try:
            every = iter(self.detector.score_windows(windows, section))
        except Exception:  # noqa: BLE001 - whose windows it was shows when each is scored alone
            for job in together:
                _answer(job.future, partial(self.detector.score_windows, job.windows, job.section))
            return
        for job in together:
            job.future.set_result([next(every) for _ in job.windows])


def _fits(job: _Scoring | _Call, room: int) -> bool:
    return isinstance(job, _Scoring) and len(job.windows) <= room


def _answer(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        value = function()
    except Exception as error:  # noqa: BLE001 - told to whoever asked; the thread goes on
        future.set_exception(error)
    else:
        future.set_result(value)
