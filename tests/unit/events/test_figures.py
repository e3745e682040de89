"""Figures are those of what was told."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from asd.errors import UserError
from asd.events.figures import Figures

OF = {"source": "pump", "machine": "pump_section_00"}


def test_figures_follow_events_and_are_served() -> None:
    figures = Figures()
    figures.add_source("pump", "pump_section_00")
    figures.add_sink("hook", lambda: 3, lambda: 0.0)
    for event in [
        {"type": "score", "score": 0.25},
        {"type": "score", "score": 0.5},
        {"type": "event_start", "limits": {"alarm": 0.4, "abstain": 0.4}},
        {"type": "gap", "seconds": 1.5},
        {"type": "source", "state": "stalled"},
    ]:
        figures.take({**OF, **event})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    end = figures.serve(f"127.0.0.1:{port}")
    with pytest.raises(UserError, match=rf"cannot listen at 127\.0\.0\.1:{port} \(Address already in use\)"):
        Figures().serve(f"127.0.0.1:{port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    end()
    of = '{machine="pump_section_00",source="pump"}'
    for line in [
        f"asd_watch_windows_total{of} 2.0", f"asd_watch_score{of} 0.5", f"asd_watch_anomalous{of} 1.0",
        f"asd_watch_alarm_limit{of} 0.4", f"asd_watch_lost_seconds_total{of} 1.5",
        'asd_watch_source_state{source="pump",state="stalled"} 1.0',
        'asd_watch_source_state{source="pump",state="heard"} 0.0', 'asd_watch_waiting{sink="hook"} 3.0',
        'asd_watch_sink_reached{sink="hook"} 0.0',
    ]:  # fmt: skip
        assert line in lines


@pytest.mark.parametrize("address", ["9108", "host:", ":9108", "127.0.0.1:http"])
def test_another_form_of_address_is_named(address: str) -> None:
    with pytest.raises(UserError, match="give host and port"):
        Figures().serve(address)


def test_a_limit_that_is_known_is_shown_from_the_start() -> None:
    figures = Figures()
    figures.add_source("pump", "pump_section_00", 0.25)
    figures.add_source("fan", "fan_section_00")
    assert figures.registry.get_sample_value("asd_watch_alarm_limit", OF) == 0.25
    assert (
        figures.registry.get_sample_value("asd_watch_alarm_limit", {"source": "fan", "machine": "fan_section_00"})
        is None
    )
