"""Delivery from the queue, by a thread of its own for each sink: nobody who listens waits for it."""

from __future__ import annotations

import threading
from typing import Protocol

from asd.events.event import Event
from asd.events.queue import EventQueue
from asd.utils.log import logger

_LOOK_SECONDS = 0.5


class DeliveryError(Exception):
    """An event could not be delivered, for a reason that is told.

    Args:
        reason: In a line.
        refused: It never will be: the receiver refuses this event, not all.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(" ".join(reason.split()))
        self.refused = refused


class Sink(Protocol):
    """Where events go.

    Attributes:
        name: What it is called in messages, and in the queue from one start to the next.
    """

    name: str

    def refresh(self) -> None:
        """Called before each delivery, and now and then; raises `DeliveryError` where nobody can be reached."""

    def send(self, event: Event) -> None:
        """Deliver an event; raises `DeliveryError`."""

    def close(self) -> None:
        """Say goodbye."""


class Delivery:
    """Delivers to a sink what waits, over and over until it arrives.

    Args:
        queue: What waits.
        sink: Who wants it.
        pause: Seconds before the second try; doubled for each further one.
        longest: Seconds between two tries at most.

    Attributes:
        delivered: How many events arrived.
        failing: Why the last try failed; empty where it did not.
    """

    def __init__(self, queue: EventQueue, sink: Sink, pause: float = 1.0, longest: float = 60.0) -> None:
        self.queue, self.sink, self.pause, self.longest = queue, sink, pause, longest
        self.delivered, self.failing = 0, ""
        self._ending, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=sink.name, daemon=True)
        self._thread.start()

    def close(self, seconds: float = 30.0) -> None:
        """Deliver what waits, for so long at most; then say what is left."""
        self._ending.set()
        self._thread.join(seconds)
        self._stop.set()
        self._thread.join(1.0)
        if left := self.queue.waiting(self.sink.name):
            kept = "lost: give --state to keep them" if self.queue.state.folder is None else "kept for the next start"
            logger.warning("asd: warning: %s: %d events not delivered, %s", self.sink.name, left, kept)

    def _work(self) -> None:
        pause = self.pause
        while not self._stop.is_set():
            ending = self._ending.is_set()
            try:
                if not self._step(ending) and ending:
                    break
                self._say("")
                pause = self.pause
            except DeliveryError as error:
                self._say(str(error))
                # The end wakes who pauses, for one more try at once.
                (self._stop if ending else self._ending).wait(pause)
                pause = min(2 * pause, self.longest)
        self.sink.close()

    def _step(self, ending: bool) -> bool:
        """Deliver the next event; returns whether there was one."""
        self.sink.refresh()
        found = self.queue.first(self.sink.name, 0.0 if ending else _LOOK_SECONDS)
        if found is None:
            return False
        number, event = found
        try:
            self.sink.send(event)
            self.delivered += 1
        except DeliveryError as error:
            if not error.refused:
                raise
            logger.warning("asd: warning: %s: event %s is refused (%s)", self.sink.name, event["id"], error)
        self.queue.done(self.sink.name, number)
        return True

    def _say(self, reason: str) -> None:
        """Once for each reason, as it is tried again and again; and once that it went well again."""
        if reason != self.failing:
            what = f"not delivered ({reason}); it is tried again" if reason else "is reached again"
            logger.warning("asd: warning: %s: %s", self.sink.name, what)
        self.failing = reason
