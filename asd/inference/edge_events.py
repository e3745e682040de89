"""Events of `edge.py`, which `asd export` joins this file to: when there is one, and what its message holds.

Ids and names of sources are those of `asd watch`, which takes them from here: whoever gets an event from both has it
once.
"""

from __future__ import annotations

import math
import re
import uuid
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]

VERSION = 1
"""Of the schema of events, ``asd/events/event.schema.json``."""
_SPACE = uuid.UUID("6f9d3b52-6a55-4c1b-9f0e-5e1c4b6d5a10")
UNKNOWN: dict[str, Message] = {
    "event_start": {"p_value": None, "false_alarms_per_day": None, "explanation": None},
    "event_end": {"p_value": None, "false_alarms_per_day": None, "explanation": None},
    "summary": {"drifts": 0, "alarms_per_hour": None, "expected_alarms_per_hour": None},
}
"""What a bundle cannot tell of each type of message."""


class Monitor:
    """Events: so many of the last windows above the limit, each as the median of a few."""

    def __init__(self, limit: float, rules: dict[str, Any], tell: Callable[[Message], None]) -> None:
        self.limit, self.needed, self.tell = limit, rules["needed"], tell
        self.recent: deque[float] = deque(maxlen=rules["smooth"])
        self.flags: deque[tuple[float, float, bool]] = deque(maxlen=rules["among"])
        self.event: Message = {}
        self.windows, self.events, self.ended = 0, 0, -math.inf

    def push(self, at: float, score: float) -> None:
        """Take the score of the window that begins at that time."""
        self.windows += 1
        self.recent.append(score)
        self.flags.append((at, score, sorted(self.recent)[len(self.recent) // 2] > self.limit))
        high = [moment for moment, _, above in self.flags if above]
        if not self.event and len(high) >= self.needed and at >= self.ended:
            peak, moment = max((one, moment) for moment, one, _ in self.flags)
            self.begin(score, {"start": high[0], "peak": peak, "peak_time": moment, "windows": len(high) - 1})
        if self.event:
            self.event["windows"] += 1
            if score > self.event["peak"]:
                self.event.update(peak=score, peak_time=at)
            if not high:
                self.end(at)

    def begin(self, score: float, event: Message) -> None:
        """An event begins with a window, or is a recording, of that score."""
        self.events, self.event = self.events + 1, {"start": event["start"], "score": score, **event}
        self.tell({"type": "event_start", "start": event["start"], "score": score, "threshold": self.limit})

    def end(self, at: float) -> None:
        """What event there is ends."""
        if self.event:
            self.tell({"type": "event_end", **self.event, "end": at, "open": False})
            self.event, self.ended = {}, at

    def gap(self, at: float) -> None:
        """What comes next has nothing to do with what came before."""
        self.recent.clear()
        self.flags.clear()
        self.end(at)


class Events:
    """Makes messages complete: whose they are, an id, and what an alarm stands on.

    Args:
        machine: Name of the machine.
        folder: Where the recordings are.
        limits: Above the first there is an alarm, up to the second all is normal.
    """

    def __init__(self, machine: str, folder: Path, limits: tuple[float, float]) -> None:
        self.machine, self.folder, self.source = machine, folder, name_for(folder)
        self.limits = dict(zip(("alarm", "abstain"), limits, strict=True))
        self.ids = Ids(machine, self.source)

    def complete(self, message: Message) -> Message:
        """The message as an event of the schema."""
        kind = message["type"]
        whose = {"type": kind, "version": VERSION, "id": self.ids.of(message), "machine": self.machine}
        event: Message = {**whose, "source": self.source, **message, **UNKNOWN.get(kind, {})}
        if kind in ("event_start", "event_end"):
            event |= {"limits": self.limits, "clip": str(self.folder / message["file"])}
        return event


class Ids:
    """Ids of what is told of a source: the same for a file that is judged again, else of this run alone.

    Args:
        machine: Name of the machine.
        source: Name of where the sound comes from.
    """

    def __init__(self, machine: str, source: str) -> None:
        self.machine, self.source = machine, source
        self._run, self._said = uuid.uuid4(), 0
        self._file, self._same = "", Counter[str]()

    def of(self, message: Message) -> str:
        """Of a file: what was said, of which moment, and the how many-th time. Else: the how many-th message."""
        file = message.get("file", "")
        if not file:
            self._said += 1
            return str(uuid.uuid5(self._run, str(self._said)))
        if file != self._file:
            self._file, self._same = file, Counter()
        moment = next((message[key] for key in ("time", "start") if key in message), "")
        what = "\n".join([self.source, self.machine, message["type"], file, str(moment)])
        self._same[what] += 1
        return str(uuid.uuid5(_SPACE, f"{what}\n{self._same[what]}"))


def name_for(place: Path) -> str:
    """A name for a source that nobody gave one: the last part of its path, in letters that all topics take."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", place.stem).strip("_")[:64] or "source"
