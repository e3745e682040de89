"""Messages in words."""

from __future__ import annotations

import pytest

from asd.cli.watch_lines import line

AT = "2026-11-28T10:00:00+00:00"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            {"type": "event_start", "start": 61.0, "score": 0.51234, "threshold": 0.3},
            "00:01:01 fan: sounds wrong, score 0.512 above 0.3",
        ),
        (
            {"type": "event_end", "start": 60.0, "end": 75.0, "peak": 0.7, "open": False, "at": AT},
            f"{AT} fan: sounds normal again, after 15.0 s with a score of up to 0.7",
        ),
        (
            {"type": "event_end", "start": 60.0, "end": 3675.0, "peak": 0.7, "open": True},
            "01:01:15 fan: still sounds wrong at the end, after 3615.0 s with a score of up to 0.7",
        ),
        (
            {"type": "file", "file": "a.wav", "score": 0.1, "threshold": 0.3, "decision": "normal", "at": AT},
            f"{AT} fan a.wav: normal, score 0.1, alarm above 0.3",
        ),
        ({"type": "gap", "time": 5.0, "seconds": 0.25}, "00:00:05 fan: 0.25 s of sound were lost"),
        ({"type": "unusable", "file": "b.wav", "reason": "silent"}, "fan b.wav: cannot be judged: silent"),
        (
            {
                "type": "drift",
                "time": 0.0,
                "scores": "higher",
                "alarms_per_hour": 3.0,
                "expected_alarms_per_hour": 1.25,
            },
            "00:00:00 fan: scores have drifted higher; 3 windows an hour above the threshold, 1.25 expected",
        ),
        (
            {"type": "summary", "end": 9.0, "windows": 3, "events": 1, "drifts": 0, "alarms_per_hour": None},
            "00:00:09 fan: windows: 3, events: 1, drifts: 0",
        ),
        ({"type": "score", "time": 1.0, "score": 0.5}, ""),
    ],
)
def test_messages_in_words(message: dict, said: str) -> None:
    assert line("fan", message) == said
