"""The routes of the service."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import Depends, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, Request
from torch import Tensor

from asd import __version__
from asd.deploy import Detector
from asd.deploy.explanation import Explanation
from asd.deploy.windows import windows_of
from asd.errors import UserError
from asd.serve.batching import Worker
from asd.serve.limits import Limits, Upload, received
from asd.serve.observed import Observed, Observing

_PAGE = Path(__file__).parent / "page"
_FILES = {"/": "index.html"} | {f"/{name}": name for name in ("page.css", "page.js", "draw.js", "icon.svg")}
_BINS = 30
_GONE = 499
_Value = TypeVar("_Value")
_log = logging.getLogger(__name__)


class Service:
    """What the routes share.

    Args:
        load: Gives the detector, in the thread that will use it.
        limits: What is refused.
        decoders: Threads that decode.

    Raises:
        UserError: The detector cannot be loaded.
    """

    def __init__(self, load: Callable[[], Detector], limits: Limits, decoders: int = 2) -> None:
        self.limits = limits
        self.waiting = 0
        self.started = time.time()
        self.observed = Observed(lambda: self.waiting)
        self.worker = Worker(load, self.observed.batches.observe)
        self.detector = self.worker.detector
        self.decoders = ThreadPoolExecutor(decoders, "asd-decode")

    def close(self) -> None:
        """End the threads once what waits is answered."""
        self.decoders.shutdown()
        self.worker.close()

    def population(self, machine: str | None) -> int:
        """Number of a machine's population; 404 with the known ones where it is unknown, 422 where it is not said."""
        try:
            return self.detector.population(machine)
        except UserError as error:
            raise HTTPException(422 if machine is None else 404, str(error)) from error

    def refuse_if_full(self) -> None:
        """Answer 503 at once where as many wait as may."""
        if self.waiting >= self.limits.waiting:
            self.observed.rejected.inc()
            raise HTTPException(503, "too many recordings wait; try again in a second", {"Retry-After": "1"})

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place among those that wait."""
        self.refuse_if_full()
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def score(self, request: Request, upload: Upload, number: int, explained: bool) -> dict[str, Any]:
        """What the detector says of a recording that was sent."""
        loop = asyncio.get_running_loop()
        try:
            seconds, windows = await loop.run_in_executor(self.decoders, self._decoded, upload.path)
        except UserError as error:
            # The client knows the file by another name.
            message = str(error).replace(str(upload.path), upload.name or "the recording")
            raise HTTPException(422, message) from error
        scores = await _unless_gone(request, self.worker.score([window for _, window in windows], number))
        pairs = [(start, score) for (start, _), score in zip(windows, scores, strict=True)]
        result = self.detector.result(upload.name, number, pairs)
        self.observed.recordings.labels(result.machine, result.decision).inc()
        self.observed.audio.inc(seconds)
        answer = asdict(result)
        if not math.isfinite(result.percentile):  # an old checkpoint, which keeps no normal scores
            answer["percentile"] = None
        if explained:
            worst = int(np.argmax(scores))
            start, window = windows[worst]
            length = min(seconds - start, self.detector.cut.seconds)
            call = self.worker.call(
                lambda: self.detector.explain_window(window, number, start, length, scores[worst], upload.name)
            )
            answer["explanation"] = _drawable(await _unless_gone(request, call))
        return answer

    def _decoded(self, path: Path) -> tuple[float, list[tuple[float, Tensor]]]:
        seconds = self.limits.check_recording(path, self.detector.cut)
        return seconds, list(windows_of(path, self.detector.cut))

    def machines(self) -> list[dict[str, Any]]:
        """What is known of each machine."""
        found = []
        for number, name in enumerate(self.detector.machines):
            scores = self.detector.model.population.training_scores(number)[0].cpu().numpy()
            counts, edges = np.histogram(scores, _BINS) if len(scores) else (np.empty(0), np.empty(0))
            found.append(
                {
                    "name": name,
                    "threshold": float(self.detector.model.population.thresholds[number]),
                    "normal_clips": len(scores),
                    "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
                }
            )
        return found


def create_app(service: Service) -> FastAPI:
    """The routes over a service, which ends with them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # The usual page of the interface loads its scripts from elsewhere.
    app = FastAPI(title="asd", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    allowed = [Depends(service.limits.check_token)]
    _answer_errors(app)

    app.add_middleware(Observing, observed=service.observed)

    @app.post("/score", dependencies=allowed, openapi_extra={"requestBody": _BODY})
    async def score(
        request: Request, machine: str | None = None, explain: bool = False, name: str = ""
    ) -> JSONResponse:
        """Score a recording: the body, or the field `file` of a form. `name` is what the answer calls it."""
        begin = time.perf_counter()
        number = service.population(machine)
        service.refuse_if_full()  # before the body is taken, too
        async with received(request, service.limits, name) as upload:
            with service.admitted():
                answer = await service.score(request, upload, number, explain)
        service.observed.latency.observe(time.perf_counter() - begin)
        return JSONResponse(answer)

    @app.get("/machines", dependencies=allowed)
    async def machines() -> JSONResponse:
        """The machines that are known, with thresholds and the distributions of normal scores."""
        cut = service.detector.cut
        return JSONResponse({"sample_rate": cut.sample_rate, "seconds": cut.seconds, "machines": service.machines()})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the service lives, and how much waits."""
        up = time.time() - service.started
        return {"status": "ok", "version": __version__, "uptime_seconds": up, "waiting": service.waiting}

    @app.get("/metrics", dependencies=allowed)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.observed.text(), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", dependencies=allowed, include_in_schema=False)
    async def interface() -> JSONResponse:
        return JSONResponse(app.openapi())

    for route, name in _FILES.items():
        app.get(route, include_in_schema=False)(_file(_PAGE / name))
    return app


_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        },
    },
}


def _file(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def page() -> FileResponse:
        return FileResponse(path)

    return page


def _answer_errors(app: FastAPI) -> None:
    """Every error as ``{"error": "one line"}``."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": said}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_GONE)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed: %s: %s", request.method, request.url.path, type(error).__name__, error)
        return JSONResponse({"error": "the service failed on this recording; its log says why"}, 500)


async def _unless_gone(request: Request, future: Future[_Value]) -> _Value:
    """The value of a future; given up where the client went away, so that nothing is computed for nobody."""
    waiting = asyncio.wrap_future(future)
    while True:
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        if done:
            return waiting.result()
        if await request.is_disconnected():
            waiting.cancel()
            raise ClientDisconnect


def _drawable(found: Explanation) -> dict[str, Any]:
    """With the spectrogram, as whole decibels, for the page to draw."""
    low, high = found.band
    first, last = found.span
    return {
        **found.to_dict(),
        "band_hz": [low, high],
        "span_s": [first, last],
        "level_db": found.level.round().astype(int).tolist(),
        "level_edges_hz": found.level_edges.tolist(),
    }
