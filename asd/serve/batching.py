"""One thread that owns the model, and scores what waits in batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from asd.deploy import Detector
from asd.deploy.windows import BATCH


@dataclass(frozen=True)
class _Scoring:
    windows: Sequence[Tensor]
    population: int
    future: Future[list[float]]


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]

    def values(self) -> list[Any]:
        return [self.function()]


class Worker:
    """Scores windows of several recordings together: those that wait when the model is free, without waiting for more.

    The model is loaded in the thread, too: OpenMP keeps a team of threads for each thread that computes, and two teams
    on the same cores slow each other down.

    Args:
        load: Gives the detector.
        observe: Told the number of windows of each batch.
    """

    def __init__(self, load: Callable[[], Detector], observe: Callable[[int], None] = lambda windows: None) -> None:
        self._observe = observe
        self._loaded: Future[Detector] = Future()
        self._waiting: queue.SimpleQueue[_Scoring | _Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=[load], name="asd-model", daemon=True)
        self._thread.start()

    @property
    def detector(self) -> Detector:
        """The detector, once it is loaded; raises what loading it raised."""
        return self._loaded.result()

    def score(self, windows: Sequence[Tensor], population: int) -> Future[list[float]]:
        """Scores of windows ``(T,)`` against a population."""
        future: Future[list[float]] = Future()
        self._waiting.put(_Scoring(windows, population, future))
        return future

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """What `function` returns, called where the model is free."""
        future: Future[Any] = Future()
        self._waiting.put(_Call(function, future))
        return future

    def close(self) -> None:
        """End after what waits is done."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self, load: Callable[[], Detector]) -> None:
        _answer([self._loaded], lambda: [load()])
        held: list[_Scoring | _Call | None] = []
        while True:
            item = held.pop() if held else self._waiting.get()
            if item is None:
                return
            if isinstance(item, _Call):
                if item.future.set_running_or_notify_cancel():
                    _answer([item.future], item.values)
                continue
            together = [item]
            while sum(len(one.windows) for one in together) < BATCH:
                try:
                    other = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if not isinstance(other, _Scoring):
                    held.append(other)
                    break
                together.append(other)
            self._score(together)

    def _score(self, together: Sequence[_Scoring]) -> None:
        # Whoever went away is left out.
        live = [one for one in together if one.future.set_running_or_notify_cancel()]
        if not live:
            return
        windows = [window for one in live for window in one.windows]
        populations = [one.population for one in live for _ in one.windows]
        self._observe(len(windows))

        def scores() -> list[list[float]]:
            every = iter(self.detector.score_windows(windows, populations))
            return [[next(every) for _ in one.windows] for one in live]

        _answer([one.future for one in live], scores)


def _answer(futures: Sequence[Future[Any]], function: Callable[[], Sequence[Any]]) -> None:
    try:
        values = function()
    except Exception as error:  # noqa: BLE001 - told to whoever asked; the thread goes on
        for future in futures:
            future.set_exception(error)
        return
    for future, value in zip(futures, values, strict=True):
        future.set_result(value)
