"""What `asd watch` says to people: a line for a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asd.utils.text import shown


def line(machine: str, message: Mapping[str, Any]) -> str:
    """The message in words; empty for those that only programs want."""
    said = _said(message)
    if not said:
        return ""
    when = message.get("at") or _clock(message)
    where = f" {message['file']}" if "file" in message else ""
    return shown(f"{when} {machine}{where}: {said}".lstrip())


def _said(message: Mapping[str, Any]) -> str:
    match message["type"]:
        case "event_start":
            return f"sounds wrong, score {message['score']:.3g} above {message['threshold']:.3g}"
        case "event_end":
            lasted = max(0.0, message["end"] - message["start"])
            state = "still sounds wrong at the end" if message["open"] else "sounds normal again"
            return f"{state}, after {lasted:.1f} s with a score of up to {message['peak']:.3g}"
        case "commissioned":
            return f"commissioned, alarm above {message['threshold']:.3g}; {message['expected']}"
        case "file":
            return f"{message['decision']}, score {message['score']:.3g}, alarm above {message['threshold']:.3g}"
        case "drift":
            return f"scores have drifted {message['scores']}{_rates(message)}"
        case "gap":
            return f"{message['seconds']:.3g} s of sound were lost"
        case "unusable":
            return f"cannot be judged: {message['reason']}"
        case "source":
            state = "is heard again" if message["state"] == "heard" else f"is {message['state']}"
            return f"{state}: {message['reason']}" if message["reason"] else state
        case "remark":
            return str(message["remark"])
        case "summary":
            counts = (f"{name}: {message[name]}" for name in ("windows", "events", "drifts"))
            return f"{', '.join(counts)}{_rates(message)}"
    return ""


def _rates(message: Mapping[str, Any]) -> str:
    found, expected = message.get("alarms_per_hour"), message.get("expected_alarms_per_hour")
    if found is None:
        return ""
    usual = "" if expected is None else f", {expected:.3g} expected"
    return f"; {found:.3g} windows an hour above the threshold{usual}"


def _clock(message: Mapping[str, Any]) -> str:
    """Seconds of the stream as hours, minutes and seconds; empty where the message has no time."""
    moment = next((message[key] for key in ("time", "end", "start") if key in message), None)
    if moment is None:
        return ""
    minutes, seconds = divmod(int(moment), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
