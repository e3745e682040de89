"""Complete events of what a watcher says of one source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from asd.evaluation.calibration import of_scorers
from asd.events.event import VERSION, Event
from asd.inference.detector import Detector
from asd.inference.edge_events import Ids
from asd.inference.monitor import Message
from asd.plant.model import Scores
from asd.scoring.limits import Limits


class Reporter:
    """Adds to each message who is meant, an id, and what an alarm is worth.

    A file of a folder that is judged again gives events of the same ids, so that nobody takes them for others. Streams
    never come again: their ids are of this run alone.

    Args:
        source: Its name.
        detector: Whose limits are meant.
        number: Of the machine and section.
        scores: What can explain an event.
        hand_on: Called with each event.
        clip: Gives, for a message about an event, the path of the sound that is kept; ``None``: none is.
    """

    def __init__(
        self,
        source: str,
        detector: Detector,
        number: int,
        scores: Scores,
        hand_on: Callable[[Event], None],
        clip: Callable[[Message], str | None] = lambda _: None,
    ) -> None:
        self.source, self.machine = source, detector.machines[number]
        self.detector, self.number, self.scores = detector, number, scores
        self.state = "heard"
        self._hand_on, self._clip = hand_on, clip
        self._ids = Ids(self.machine, source)
        self._priced: tuple[Limits, float | None] | None = None

    def __call__(self, message: Message) -> None:
        """Take a message of `asd.inference.watching.Watcher`."""
        kind = message["type"]
        if kind == "source":
            if message["state"] == self.state:
                return
            self.state = message["state"]
        elif kind == "score" and self.state != "heard":
            when: Message = {key: message[key] for key in ("time", "at", "file") if key in message}
            self({"type": "source", **when, "state": "heard", "reason": ""})
        event = {
            "type": kind, "version": VERSION, "id": self._ids.of(message), "machine": self.machine,
            "source": self.source, **message,
        }  # fmt: skip
        if kind == "event_start":
            self.scores.begin(message["start"])
            event |= {**self._worth(message["score"]), "explanation": None, "clip": self._clip(message)}
        elif kind == "event_end":
            explained = self.scores.explained()
            event |= {**self._worth(message["peak"]), "explanation": explained, "clip": self._clip(message)}
        self._hand_on(event)

    def _worth(self, score: float) -> dict[str, Any]:
        """What is known of a score: limits, p-value, and how many false alarms come with them."""
        usual = self.detector.judging.usual[self.number]
        p_value = usual.normal.p_value(score)
        return {
            "limits": usual.limits._asdict(),
            "p_value": None if math.isnan(p_value) else p_value,
            "false_alarms_per_day": self._price(usual.limits),
        }

    def _price(self, limits: Limits) -> float | None:
        if self._priced is None or self._priced[0] != limits:
            hop = self.detector.cut.hop
            known = of_scorers(self.detector.model.sections, hop).machines[self.machine]
            daily = known.expected().daily(hop)[0]
            self._priced = limits, None if math.isnan(daily) else round(daily, 3)
        return self._priced[1]
