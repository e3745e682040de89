"""Where events go beside the standard output: the queue and what delivers it, and figures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.events.delivery import Delivery, Sink
from asd.events.event import NOT_DELIVERED, Event
from asd.events.queue import EventQueue
from asd.events.state import State
from asd.events.webhook import Webhook
from asd.plant.options import Options

if TYPE_CHECKING:
    from asd.events.figures import Figures
    from asd.events.mqtt import Mqtt

_AT_THE_END = 30.0
_AT_THE_END_WHERE_KEPT = 5.0
"""Seconds in which what waits is delivered at the end; what is kept need not be."""


class Outlets:
    """Hands events on, from any thread, without making whoever hears them wait for a network.

    Args:
        options: Which outlets there are.
        sources: Names of the sources, and the machine of each.
        limits: Above which score each is anomalous, as far as it is known from the start.

    Raises:
        UserError: One cannot be used, or its package is missing.
    """

    def __init__(self, options: Options, sources: Mapping[str, str], limits: Mapping[str, float] | None = None) -> None:
        self._lock, self._ends = threading.Lock(), ExitStack()
        self._mqtt = _mqtt(options, sources) if options.mqtt is not None else None
        self._figures = _figures() if options.metrics is not None else None
        sinks: list[Sink] = [] if options.webhook is None else [Webhook(options.webhook)]
        sinks += [] if self._mqtt is None else [self._mqtt]
        with self._ends:
            self.state = State(options.state)
            self._ends.callback(self.state.close)
            self._queue = EventQueue(self.state, [sink.name for sink in sinks], options.queue)
            if self._figures is not None:
                self._ends.callback(self._figures.serve(options.metrics or ""))
            self._sources: dict[str, dict[str, Any]] = {}
            for name, machine in sources.items():
                self._sources[name] = {"machine": machine, "state": "heard", "sound": "normal"}
                self._show(name)
                if self._figures is not None:
                    self._figures.add_source(name, machine, (limits or {}).get(name))
            self._deliver(sinks)
            self._ends = self._ends.pop_all()

    def take(self, event: Event) -> None:
        """Hand an event on."""
        with self._lock:
            if self._figures is not None:
                self._figures.take(event)
            if event["type"] in NOT_DELIVERED:
                return
            source = self._sources[event["source"]]
            match event["type"]:
                case "event_start":
                    source |= {"sound": "anomalous", "score": event["score"], "id": event["id"]}
                case "event_end" if not event["open"]:
                    source |= {"sound": "normal", "score": event["peak"], "id": event["id"]}
                case "source":
                    source |= {"state": event["state"], "id": event["id"]}
            self._show(event["source"])
            self._queue.put(event)

    def close(self) -> None:
        """Deliver what can be, and let others use what is kept."""
        self._ends.close()

    def _show(self, source: str) -> None:
        if self._mqtt is not None:
            self._mqtt.state(source, self._sources[source])

    def _deliver(self, sinks: list[Sink]) -> None:
        seconds = _AT_THE_END if self.state.folder is None else _AT_THE_END_WHERE_KEPT
        for sink in sinks:
            delivery = Delivery(self._queue, sink)
            self._ends.callback(delivery.close, seconds)
            if self._figures is not None:
                self._figures.add_sink(sink.name, _waiting(self._queue, sink.name), _reached(delivery))


def _waiting(queue: EventQueue, name: str) -> Callable[[], float]:
    return lambda: queue.waiting(name)


def _reached(delivery: Delivery) -> Callable[[], float]:
    return lambda: float(not delivery.failing)


def _mqtt(options: Options, sources: Mapping[str, str]) -> Mqtt:
    try:
        from asd.events.mqtt import Address, Mqtt, password_of
    except ImportError as error:
        raise UserError(f"{error}; --mqtt needs one more package: pip install 'asd-zoo[mqtt]'") from error
    password = password_of(options.mqtt_password_file)
    address = Address.parse(options.mqtt or "")
    return Mqtt(address, password, sources, options.mqtt_ca, options.mqtt_discovery)


def _figures() -> Figures:
    try:
        from asd.events.figures import Figures
    except ImportError as error:
        raise UserError(f"{error}; --metrics needs one more package: pip install 'asd-zoo[metrics]'") from error
    return Figures()
