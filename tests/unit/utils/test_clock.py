"""Times of a live stream follow the clock of this machine, also where it is set."""

from __future__ import annotations

import pytest

from asd.utils import clock
from asd.utils.clock import StreamClock


class Clocks:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.ahead = 0.0, 1e9
        monkeypatch.setattr(clock.time, "monotonic", lambda: self.passed)
        monkeypatch.setattr(clock.time, "time", lambda: self.passed + self.ahead)


def test_times_go_back_with_the_clock_and_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    stream = StreamClock()
    told = []
    for second in range(100):
        clocks.passed = float(second)
        if second == 50:
            clocks.ahead -= 3600
        if second == 80:
            clocks.ahead += 0.3  # as it is usually corrected
        told.append(stream.follow(second))
    assert [(second, round(by)) for second, by in enumerate(told) if by] == [(50, -3600)]
    assert stream.since == pytest.approx(1e9 - 3600, abs=0.1)


def test_the_clock_of_a_microphone_is_followed_and_a_recording_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    stream, heard = StreamClock(), 0.0
    for _ in range(4 * 86400):
        clocks.passed += 0.25
        heard += 0.25 * (1 - 100e-6)
        assert stream.follow(heard) == 0
    assert stream.since + heard == pytest.approx(clocks.passed + clocks.ahead, abs=0.5), "it would be off by 8.6 s"
    recorded, before = StreamClock(heard := 0.0), clocks.passed + clocks.ahead
    for _ in range(1000):
        clocks.passed += 0.01
        recorded.follow(heard := heard + 10.0)
    assert recorded.since == pytest.approx(before, abs=0.1)


def test_a_stream_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    clocks.passed = 500.0
    assert StreamClock(heard=100.0).since == 1e9 + 400
