"""What the routes share: the detector, the threads that work for it, and the places of those who wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import HTTPException
from starlette.requests import ClientDisconnect, Request
from torch import Tensor

from asd.data.clip import Sound
from asd.errors import UserError
from asd.inference import Detector
from asd.inference.explanation import Explanation
from asd.inference.feedback import log_of
from asd.inference.sensitivity import Step, steps_of
from asd.inference.windows import BATCH
from asd.serve.batching import Worker
from asd.serve.limits import Body, Limits
from asd.serve.observed import Observed
from asd.serve.recording import Recording, TooLongError
from asd.serve.upload import Upload, telling_full_disk

_BINS = 30
_DECODERS = 2
_QUICK_BYTES, _QUICK_SAMPLES = 1_000_000, 500_000
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Kept:
    """Where what people say is kept.

    Attributes:
        checkpoint: What is served; its log takes feedback.
        calibrated: The checkpoint that a calibration writes; ``None``: none is taken.
    """

    checkpoint: Path
    calibrated: Path | None = None

    @property
    def log(self) -> Path:
        """Of feedback."""
        return log_of(self.checkpoint)


class Service:
    """Scores what is sent.

    Args:
        load: Gives the detector, in the thread that will use it.
        limits: What is refused.
        batch_wait: Seconds that a recording may wait for others to be scored with.
        kept: Where what people say is kept; ``None``: nothing is taken.

    Attributes:
        waiting: Recordings that wait or are scored.
        ended: Whether its threads have.

    Raises:
        UserError: The detector cannot be loaded.
    """

    def __init__(
        self, load: Callable[[], Detector], limits: Limits, batch_wait: float = 0.0, kept: Kept | None = None
    ) -> None:
        self.limits = limits
        self.kept = kept
        self.waiting = 0
        self.ended = False
        self.started = time.time()
        self.observed = Observed(lambda: self.waiting)
        self.worker = Worker(load, batch_wait, self.observed.batches.observe)
        self.detector = self.worker.detector
        self._decoders = ThreadPoolExecutor(_DECODERS, "asd-decode")
        self._decodings: set[Future[Any]] = set()
        self._arriving: set[Body] = set()

    @property
    def receiving(self) -> int:
        """Recordings that arrive."""
        return len(self._arriving)

    def close(self, seconds: float | None = None) -> None:
        """End the threads once what waits is done, or after so many seconds: no thread can be stopped."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        still = wait(set(self._decodings), seconds).not_done
        self.ended = self.worker.close(seconds) and not still

    def section_index(self, machine: str) -> int:
        """Number of a machine and section; 404 with the known ones where it is unknown, 422 where it is not said."""
        try:
            return self.detector.section_index(machine or None)
        except UserError as error:
            raise HTTPException(404 if machine else 422, str(error)) from error

    @contextmanager
    def arriving(self, body: Body) -> Iterator[None]:
        """A place among those that arrive; 503 at once where it would have to wait for long."""
        if self.waiting >= self.limits.waiting or (self.receiving >= self.limits.waiting and not self._made_room()):
            raise self._full()
        self._arriving.add(body)
        try:
            yield
        finally:
            self._arriving.discard(body)

    def _made_room(self) -> bool:
        """Whether the slowest of those that arrive gave up its place: clients that drip lock nobody out."""
        slowest = min(self._arriving, key=lambda body: body.rate)
        if slowest.slow:
            slowest.give_up()
            self._arriving.remove(slowest)
        return slowest.slow

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place among those that wait; 503 where as many wait as may."""
        if self.waiting >= self.limits.waiting:
            raise self._full()
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def _full(self) -> HTTPException:
        self.observed.rejected.inc()
        return HTTPException(503, "too many recordings wait; try again in a second", {"Retry-After": "1"})

    async def score(self, upload: Upload, number: int, explained: bool) -> dict[str, Any]:
        """What the detector says of a recording: the fields of `Result`, and of `Explanation` where it is asked for.

        Raises:
            HTTPException: 413, it is too long; 422, it cannot be used; 507, the disk is full.
        """
        with refusing(upload), telling_full_disk():
            pairs: list[tuple[float, float]] = []
            worst: tuple[float, float, Tensor] | None = None
            async for recording, windows in self.heard(upload):  # noqa: B007 - the last is the only one
                scores = await asyncio.wrap_future(self.worker.score([one for _, one in windows], number))
                for (start, window), score in zip(windows, scores, strict=True):
                    pairs.append((start, score))
                    worst = (score, start, window) if worst is None or score > worst[0] else worst
            result = self.detector.result(upload.name, number, pairs, recording.meter)
            limits = self.detector.model.sections.limits(number)
            answer = {**result.to_dict(), "limits": limits._asdict()}
            if recording.left_out:
                answer["unusable_windows"] = len(recording.left_out)
            if explained and worst is not None:
                answer["explanation"] = await self._explanation(upload.name, number, recording.seconds, *worst)
        self.observed.recordings.labels(result.machine, result.decision).inc()
        self.observed.audio.inc(recording.seconds)
        return answer

    async def heard(self, upload: Upload) -> AsyncIterator[tuple[Recording, list[tuple[float, Tensor]]]]:
        """A recording, and start and samples ``(T,)`` of its windows, a batch at a time."""
        recording, windows = await self._begun(upload.sound)
        while windows:
            yield recording, windows
            windows = await self._decoding(recording.take) if len(windows) == BATCH else []

    async def _begun(self, sound: Sound) -> tuple[Recording, list[tuple[float, Tensor]]]:
        """A recording and its first windows."""
        # A turn of another thread takes as long as decoding a few seconds. What a WAV promises is seen at once.
        if sound.content is not None and len(sound.content) <= _QUICK_BYTES and sound.content[:4] == b"RIFF":
            recording = Recording(sound, self.detector.cut, self.limits.seconds)
        else:
            recording = await self._decoding(lambda: Recording(sound, self.detector.cut, self.limits.seconds))
        quick = recording.samples <= _QUICK_SAMPLES
        return recording, recording.take() if quick else await self._decoding(recording.take)

    async def _explanation(
        self, name: str, number: int, length: float, score: float, start: float, window: Tensor
    ) -> dict[str, Any]:
        seconds = min(length - start, self.detector.cut.seconds)
        call = self.worker.call(lambda: self.detector.explain_window(window, number, start, seconds, score, name))
        found: Explanation = await asyncio.wrap_future(call)
        return {**found.to_dict(), "seconds": seconds, **_drawing(found)}

    async def _decoding(self, function: Callable[[], _Value]) -> _Value:
        decoding = self._decoders.submit(function)
        self._decodings.add(decoding)
        decoding.add_done_callback(self._decodings.discard)
        return await asyncio.wrap_future(decoding)

    def machines(self) -> list[dict[str, Any]]:
        """What is known of each machine."""
        sections = self.detector.model.sections
        settings = steps_of(self.detector)
        found = []
        for number, (name, title) in enumerate(zip(self.detector.machines, self.detector.titles, strict=True)):
            scores, limits = sections.training_scores(number)[0], sections.limits(number)
            found.append(
                {
                    "name": name,
                    "title": title,
                    "threshold": _finite(limits.alarm),
                    "normal_clips": len(scores),
                    "histogram": _histogram(scores),
                    "sensitivity": [self._step(one) for one in settings[number]],
                }
            )
        return found

    def _step(self, one: Step) -> dict[str, Any]:
        """A sensitivity that can be chosen, with its price."""
        daily, low, high = one.false_alarms.daily(self.detector.cut.hop)
        priced = {"false_alarms_a_day": daily, "at_least": low, "at_most": high} if one.false_alarms.clips else {}
        return {"threshold": one.limits.alarm, "abstain_above": one.limits.abstain, "trained": one.trained, **priced}


async def unless_gone(request: Request, work: Coroutine[Any, Any, _Value]) -> _Value:
    """What `work` returns; given up where the client goes away, so that nothing is computed for nobody."""
    here = asyncio.current_task()
    assert here is not None
    ended = False

    def stop(done: asyncio.Future[None]) -> None:
        if not ended and not done.cancelled():
            here.cancel()

    gone = asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if gone.done():
            here.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        ended = True
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextmanager
def refusing(upload: Upload) -> Iterator[None]:
    """What is wrong with a recording as an answer, which calls it as the client does."""
    try:
        yield
    except UserError as error:
        raise HTTPException(413 if isinstance(error, TooLongError) else 422, upload.named(str(error))) from error
    except MemoryError as error:
        raise HTTPException(503, "the service has not the memory for this recording", {"Retry-After": "5"}) from error


def _drawing(found: Explanation) -> dict[str, Any]:
    """What the page draws: spectrogram and spectra in decibels, and where the score comes from."""
    return {
        "band_hz": list(found.band),
        "span_s": list(found.span),
        "level": found.level.round().astype(int).tolist(),
        "level_edges_hz": found.level_edges.tolist(),
        "spectrum_db": found.spectrum.round(1).tolist(),
        "usual_db": found.usual.round(1).tolist(),
    }


def _histogram(scores: Tensor) -> dict[str, list[float]]:
    values = scores[scores.isfinite()].cpu().numpy()
    counts, edges = np.histogram(values, _BINS) if len(values) else (np.empty(0), np.empty(0))
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def _finite(value: float) -> float | None:
    """The value where JSON has one for it."""
    return value if math.isfinite(value) else None
