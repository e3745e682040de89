"""Figures of the service for Prometheus, and what every answer carries."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_WINDOWS = (1, 2, 4, 8, 16, 64)


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
    """Counts every answer by its route, and gives each the headers that keep a page to its own service.

    Args:
        app: What answers.
        observed: Where it is counted.
    """

    def __init__(self, app: ASGIApp, observed: Observed) -> None:
        self.app = app
        self.observed = observed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self.observed.requests.labels(route, str(message["status"])).inc()
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, counted)
