"""Events that wait to be delivered, in memory and on disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from asd.events.event import Event
from asd.events.state import State
from asd.utils import strict_json
from asd.utils.log import logger


class EventQueue:
    """Gives each event to each sink, in order, until the sink has it; what waits is there again after a restart.

    Memory is what counts while the program runs; the file says the same as soon as it can be written, so that a full
    disk loses nothing but what a restart would.

    Args:
        state: Where it is kept.
        sinks: Names of those who want the events; what waits for others is let go.
        most: Events that wait at most; of more the oldest are dropped, which is said.

    Attributes:
        dropped: How many were.
    """

    def __init__(self, state: State, sinks: Sequence[str], most: int = 10_000) -> None:
        self.state, self.most, self.dropped = state, most, 0
        kept = dict(state.rows("SELECT sink, number FROM delivered"))
        self._delivered: dict[str, int] = {sink: kept.get(sink, 0) for sink in sinks}
        rows = state.rows("SELECT number, event FROM events ORDER BY number")
        self._events: dict[int, Event] = {number: strict_json.loads(text) for number, text in rows}
        self._last = max([*self._events, *kept.values()], default=0)
        self._unsaved: list[int] = []
        self._changed = threading.Condition()
        state.write(*(("DELETE FROM delivered WHERE sink = ?", (sink,)) for sink in kept.keys() - set(sinks)))

    def put(self, event: Event) -> None:
        """Take an event, unless one of its id waits already."""
        with self._changed:
            if not self._delivered or any(one["id"] == event["id"] for one in self._events.values()):
                return
            self._last += 1
            self._events[self._last] = event
            self._unsaved.append(self._last)
            if len(self._events) > self.most:
                del self._events[next(iter(self._events))]
                self.dropped += 1
                if self.dropped == 1:
                    logger.warning("asd: warning: %d events wait to be delivered; the oldest are dropped", self.most)
            self._save()
            self._changed.notify_all()

    def first(self, sink: str, seconds: float = 0.0) -> tuple[int, Event] | None:
        """Number and event of what that sink has not had yet; where there is none, it is waited for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._next(sink) is not None, seconds)
            number = self._next(sink)
            return None if number is None else (number, self._events[number])

    def done(self, sink: str, number: int) -> None:
        """That sink has the event of that number."""
        with self._changed:
            self._delivered[sink] = number
            least = min(self._delivered.values())
            self._events = {one: event for one, event in self._events.items() if one > least}
            self._save()

    def waiting(self, sink: str) -> int:
        """How many events that sink has not had yet."""
        with self._changed:
            return sum(number > self._delivered[sink] for number in self._events)

    def _next(self, sink: str) -> int | None:
        return next((number for number in self._events if number > self._delivered[sink]), None)

    def _save(self) -> None:
        """Make the file say what memory says."""
        new = [one for one in self._unsaved if one in self._events]
        written = self.state.write(
            ("DELETE FROM events WHERE number < ?", (min(self._events, default=self._last + 1),)),
            *(("INSERT INTO events VALUES (?, ?)", (one, strict_json.dumps(self._events[one]))) for one in new),
            *(("INSERT OR REPLACE INTO delivered VALUES (?, ?)", pair) for pair in self._delivered.items()),
        )
        self._unsaved = [] if written else new
