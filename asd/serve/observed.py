"""Figures of the service for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd.utils.log import logger

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_WINDOWS = (1, 2, 4, 8, 16)


class Observed:
    """Counters and distributions, of this service alone.

    Args:
        waiting: Tells how many recordings wait.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = here = CollectorRegistry()
        self.requests = Counter("asd_requests", "Requests answered", ["route", "status"], registry=here)
        self.recordings = Counter("asd_recordings", "Recordings scored", ["machine", "decision"], registry=here)
        self.audio = Counter("asd_audio_seconds", "Seconds of sound scored", registry=here)
        self.rejected = Counter("asd_rejected", "Recordings refused because too many waited", registry=here)
        self.latency = Histogram("asd_score_seconds", "From request to answer", buckets=_SECONDS, registry=here)
        self.batches = Histogram("asd_batch_windows", "Windows scored together", buckets=_WINDOWS, registry=here)
        Gauge("asd_waiting", "Recordings that wait or are scored", registry=here).set_function(waiting)

    def text(self) -> bytes:
        """In the text format."""
        return generate_latest(self.registry)


class Observing:
    """Counts every answer by its route, and gives each the same headers; a failure of the service is an answer, too.

    Args:
        app: What answers.
        observed: Where it is counted.
        routes: Paths that are counted by their names; the others together.
        headers: What every answer carries.
    """

    def __init__(self, app: ASGIApp, observed: Observed, routes: Collection[str], headers: Mapping[str, str]) -> None:
        self.app = app
        self.observed = observed
        self.routes = frozenset(routes)
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self.routes else "other"
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self.observed.requests.labels(route, str(message["status"])).inc()
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception:  # noqa: BLE001 - whatever it is, the service goes on
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not begun:
                answer = JSONResponse({"error": "the service failed on this request; its log says why"}, 500)
                await answer(scope, receive, counted)
