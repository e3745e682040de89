"""One model for many sources: all that it computes is computed by one thread, in the order in which it is asked."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from torch import Tensor

from asd.data.audio.decoding import AudioError
from asd.inference.detector import Detector

_Result = TypeVar("_Result")


class OneModel:
    """A detector that threads share.

    Args:
        detector: The detector.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._kept = contextlib.ExitStack()
        self._thread = ThreadPoolExecutor(1, "model")

    def __enter__(self) -> Self:
        self._thread.submit(lambda: self._kept.enter_context(self.detector.weights_kept())).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._kept.close).result()
        self._thread.shutdown()

    def call(self, function: Callable[..., _Result], *values: Any) -> _Result:
        """What a function of the detector gives."""
        return self._thread.submit(function, *values).result()


class Scores:
    """The scores of one source's windows; the window of the highest score of an event can be explained.

    Args:
        model: What computes them.
        number: Of the machine and section.
        keep: Windows from which an event may begin; 0: nothing will be explained.
    """

    def __init__(self, model: OneModel, number: int, keep: int = 0) -> None:
        self.model, self.number = model, number
        self._recent: deque[tuple[float, float, Tensor]] = deque(maxlen=keep)
        self._peak: tuple[float, float, Tensor] | None = None

    def __call__(self, windows: Sequence[Tensor]) -> list[float]:
        """The scores of windows ``(T,)``."""
        return self.model.call(self.model.detector.score_windows, windows, self.number)

    def keep(self, at: float, window: Tensor, score: float) -> None:
        """The window that begins at `at` seconds has that score; what is told from now on may be of it."""
        self._recent.append((score, at, window))
        if self._peak is not None and score > self._peak[0]:
            self._peak = (score, at, window)

    def begin(self, start: float) -> None:
        """An event began at `start` seconds."""
        since = [one for one in self._recent if one[1] >= start]
        self._peak = max(since, key=lambda one: one[0], default=None)

    def explained(self) -> dict[str, Any] | None:
        """Why the highest window since the event began scores so; ``None`` where nothing is known of it."""
        if self._peak is None:
            return None
        score, at, window = self._peak
        seconds = self.model.detector.cut.seconds
        try:
            found = self.model.call(self.model.detector.explain_window, window, self.number, at, seconds, score)
        except AudioError:  # where no score is finite, nothing can be said
            return None
        return {
            "band_hz": list(found.band),
            "span_s": list(found.span),
            "nearest": [one.name for one in found.nearest],
            "resembles": found.resembles,
        }
