"""Figures of what is listened to, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from asd.errors import UserError
from asd.events.event import Event

_STATES = ("heard", "silent", "stalled", "away")
_OF = ["source", "machine"]


class Figures:
    """Counters and gauges, of this process alone."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        self.windows = Counter("asd_watch_windows", "Windows scored", _OF, registry=here)
        self.score = Gauge("asd_watch_score", "Score of the last window", _OF, registry=here)
        self.limit = Gauge("asd_watch_alarm_limit", "Scores above it are anomalous", _OF, registry=here)
        self.anomalous = Gauge("asd_watch_anomalous", "1 while an event lasts", _OF, registry=here)
        self.events = Counter("asd_watch_events", "Messages by their type", [*_OF, "type"], registry=here)
        self.lost = Counter("asd_watch_lost_seconds", "Seconds of sound lost", _OF, registry=here)
        self.state = Gauge("asd_watch_source_state", "1 for the state of a source", ["source", "state"], registry=here)
        self._waiting = Gauge("asd_watch_waiting", "Events to be delivered", ["sink"], registry=here)
        self._reached = Gauge("asd_watch_sink_reached", "1 where the last delivery went well", ["sink"], registry=here)

    def add_source(self, source: str, machine: str, limit: float | None = None) -> None:
        """Show a source from the start, and above which score it is anomalous where that is known."""
        if limit is not None:
            self.limit.labels(source, machine).set(limit)
        self.anomalous.labels(source, machine).set(0)
        self.windows.labels(source, machine)
        self.lost.labels(source, machine)
        self._set_state(source, "heard")

    def add_sink(self, name: str, waiting: Callable[[], float], reached: Callable[[], float]) -> None:
        """Show how many events wait for a sink, and whether it is reached."""
        self._waiting.labels(name).set_function(waiting)
        self._reached.labels(name).set_function(reached)

    def take(self, event: Event) -> None:
        """Count an event, or the score of a window."""
        of, kind = (event["source"], event["machine"]), event["type"]
        if kind == "score":
            self.windows.labels(*of).inc()
            self.score.labels(*of).set(event["score"])
            return
        self.events.labels(*of, kind).inc()
        if kind in ("event_start", "event_end"):
            self.anomalous.labels(*of).set(kind == "event_start")
            self.limit.labels(*of).set(event["limits"]["alarm"])
        elif kind == "gap":
            self.lost.labels(*of).inc(event["seconds"])
        elif kind == "source":
            self._set_state(event["source"], event["state"])

    def _set_state(self, source: str, state: str) -> None:
        for one in _STATES:
            self.state.labels(source, one).set(one == state)

    def serve(self, address: str) -> Callable[[], None]:
        """Answer at ``HOST:PORT`` from a thread; returns what ends it.

        Raises:
            UserError: No such address, or one that cannot be used.
        """
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or not host:
            raise UserError(f"--metrics is {address!r}; give host and port, such as 127.0.0.1:9108")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), registry=self.registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"cannot listen at {address} ({reason}); choose another --metrics") from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end
