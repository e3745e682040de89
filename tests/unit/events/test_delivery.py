"""What is not delivered is tried again, slower and slower, and said once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from asd.events.delivery import Delivery, DeliveryError
from asd.events.queue import EventQueue
from asd.events.state import State


class Sink:
    """Fails for a while, and remembers when it was asked."""

    name = "sink"

    def __init__(self, *failures: DeliveryError | None, unreachable: bool = False) -> None:
        self.failures, self.unreachable = list(failures), unreachable
        self.taken: list[int] = []
        self.asked: list[float] = []
        self.closed = False

    def refresh(self) -> None:
        if self.unreachable:
            raise DeliveryError("nobody\nis there")

    def send(self, event: dict) -> None:
        self.asked.append(time.monotonic())
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.taken.append(event["n"])

    def close(self) -> None:
        self.closed = True


def queued(count: int) -> EventQueue:
    queue = EventQueue(State(None), ["sink"])
    for number in range(count):
        queue.put({"id": str(number), "n": number})
    return queue


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asd")


def test_it_is_tried_again_with_longer_pauses_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(*[DeliveryError("503 busy")] * 4)
    delivery = Delivery(queued(2), sink, pause=0.05)
    until(lambda: sink.taken == [0, 1])
    delivery.close()
    pauses = [later - earlier for earlier, later in zip(sink.asked, sink.asked[1:5], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4), strict=True))
    assert caplog.messages == [
        "asd: warning: sink: not delivered (503 busy); it is tried again", "asd: warning: sink: is reached again",
    ]  # fmt: skip
    assert sink.closed
    assert delivery.delivered == 2


def test_an_event_that_is_refused_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(None, DeliveryError("400 bad", refused=True))
    Delivery(queued(3), sink).close()
    assert sink.taken == [0, 2]
    assert caplog.messages == ["asd: warning: sink: event 1 is refused (400 bad)"]


def test_the_end_waits_for_what_can_be_delivered_and_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    Delivery(queued(50), sink := Sink()).close()
    assert sink.taken == list(range(50))
    began = time.monotonic()
    Delivery(queued(3), Sink(unreachable=True), pause=30.0).close(0.2)
    assert time.monotonic() - began < 10
    assert caplog.messages == [
        "asd: warning: sink: not delivered (nobody is there); it is tried again",
        "asd: warning: sink: 3 events not delivered, lost: give --state to keep them",
    ]


def test_whoever_hears_something_does_not_wait_for_a_sink() -> None:
    queue = EventQueue(State(None), ["sink"])
    sink = Sink(unreachable=True)
    delivery = Delivery(queue, sink, pause=30.0)
    until(lambda: bool(delivery.failing))
    began = time.monotonic()
    for number in range(100):
        queue.put({"id": str(number), "n": number})
    assert time.monotonic() - began < 2
    sink.unreachable = False
    delivery.close()
    assert sink.taken == list(range(100)), "the end wakes who pauses"
