"""No event is lost between its beginning and its arrival, whatever ends in between."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from asd.errors import UserError
from asd.events.queue import EventQueue
from asd.events.state import State


def event(number: int) -> dict:
    return {"id": f"id {number}", "number": number}


def drained(queue: EventQueue, sink: str) -> list[int]:
    found = []
    while (first := queue.first(sink)) is not None:
        found.append(first[1]["number"])
        queue.done(sink, first[0])
    return found


def test_each_sink_gets_each_event_once_and_in_order() -> None:
    queue = EventQueue(State(None), ["a", "b"])
    for number in range(3):
        queue.put(event(number))
    assert drained(queue, "a") == [0, 1, 2]
    queue.put(event(3))
    assert queue.waiting("b") == 4
    assert drained(queue, "b") == [0, 1, 2, 3]
    assert drained(queue, "a") == [3]


def test_what_waits_is_there_after_a_restart_and_what_arrived_is_not(tmp_path: Path) -> None:
    state = State(tmp_path)
    queue = EventQueue(state, ["a", "b"])
    for number in range(3):
        queue.put(event(number))
    drained(queue, "b")
    queue.done("a", queue.first("a")[0])  # type: ignore[index]
    state.close()
    state = State(tmp_path)
    queue = EventQueue(state, ["a", "b"])
    queue.put(event(3))
    assert drained(queue, "a") == [1, 2, 3]
    assert drained(queue, "b") == [3]
    state.close()
    assert EventQueue(State(tmp_path), ["a"]).first("a") is None


def test_an_event_that_is_told_again_waits_once() -> None:
    queue = EventQueue(State(None), ["a"])
    queue.put(event(0))
    queue.put(event(0))
    assert queue.waiting("a") == 1


def test_of_too_many_the_oldest_are_dropped_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = State(tmp_path)
    queue = EventQueue(state, ["a"], most=3)
    for number in range(6):
        queue.put(event(number))
    state.close()
    assert queue.dropped == 3
    assert [record.getMessage() for record in caplog.records] == [
        "asd: warning: 3 events wait to be delivered; the oldest are dropped"
    ]
    assert drained(EventQueue(State(tmp_path), ["a"]), "a") == [3, 4, 5]


def test_a_sink_that_is_gone_holds_nothing_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    EventQueue(state, ["gone", "a"]).put(event(0))
    state.close()
    state = State(tmp_path)
    queue = EventQueue(state, ["a"])
    assert drained(queue, "a") == [0]
    assert state.rows("SELECT * FROM events") == []


def test_a_full_disk_is_said_once_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(tmp_path)
    queue = EventQueue(state, ["a"])
    # SQLite says the same of a file that may not grow as of a disk that is full.
    (pages,) = state.rows("PRAGMA page_count")[0]
    state.rows(f"PRAGMA max_page_count = {pages}")
    for number in range(5):
        queue.put({**event(number), "long": "x" * 5000})
    (said,) = [record.getMessage() for record in caplog.records]
    assert "cannot be written to (database or disk is full); events wait in memory" in said
    assert drained(queue, "a")[:2] == [0, 1]
    queue.put({**event(5), "long": "x" * 5000})
    state.rows("PRAGMA max_page_count = 1000")
    queue.put(event(6))
    assert "is written to again" in caplog.messages[-1]
    state.close()
    assert drained(EventQueue(State(tmp_path), ["a"]), "a") == [5, 6]


def test_two_processes_on_one_queue_are_told_in_a_line(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(UserError, match=r"is in use by another `asd watch`; end it, or give each its own --state$"):
        State(tmp_path)
    state.close()
    State(tmp_path).close()


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "watch.sqlite").write_text("no database, but long enough to be looked at" * 100)
    with pytest.raises(UserError, match=r"watch\.sqlite: file is not a database; move it away"):
        State(tmp_path)
    (tmp_path / "watch.sqlite").unlink()
    State(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--state .*file/state: Not a directory; choose another folder"):
        State(tmp_path / "file/state")


def test_places_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.place("a") is None
    state.keep_place("a", {"newest": 1, "given": {"ger\udce4usch": 1}})
    state.close()
    assert State(tmp_path).place("a") == {"newest": 1, "given": {"ger\udce4usch": 1}}


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asd")
