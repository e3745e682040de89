"""From a series of window scores to events and drift, in bounded memory."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from torch import Tensor

from asd.errors import UserError

Message = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """When scores become an event, and when an event ends.

    Attributes:
        smooth: The median of so many scores is compared with the threshold.
        needed: An event begins when so many of the last `among` are above it.
        among: Of how many; the event ends when all of so many are below.
        drift_windows: Windows that are averaged before they are looked at for drift.
        drift_limit: Sum of deviations, in standard deviations of such an average beyond one half, that is drift.
        grace: Seconds after the start, and after each gap, in which nothing is an event: the machine may be starting.
        hold_off: Seconds from the end of an event in which no other begins.
        re_arm: Seconds that all windows must be below the threshold before an event ends.
    """

    smooth: int = 3
    needed: int = 3
    among: int = 5
    drift_windows: int = 60
    drift_limit: float = 8.0
    grace: float = 0.0
    hold_off: float = 0.0
    re_arm: float = 0.0

    def __post_init__(self) -> None:
        if self.smooth < 1 or not 1 <= self.needed <= self.among:
            raise UserError(
                f"smooth is {self.smooth}, an event is {self.needed} of {self.among} windows; give 1 or more each, and "
                "no more than there are"
            )
        times = {"grace": self.grace, "hold_off": self.hold_off, "re_arm": self.re_arm}
        for name, seconds in times.items():
            if not 0 <= seconds < math.inf:
                raise UserError(f"{name} is {seconds}; give seconds, 0 or more")


class Drift:
    """Tells a slow change of the scores from chance, by a two-sided cumulative sum (Page 1954).

    Each score becomes its rank among the held-out scores of normal training clips, and that a standard normal value.
    Averages over many windows deviate by chance; what they deviate beyond half a standard deviation adds up. Windows of
    one recording resemble each other, so an average counts as that of a quarter of its windows.

    Args:
        normal: Scores ``(N,)`` of normal training clips, held out.
        rules: How many windows are averaged, and the limit.
    """

    def __init__(self, normal: Tensor, rules: Rules) -> None:
        self.normal: list[float] = normal.cpu().double().sort().values.tolist()
        ranks = (np.arange(len(self.normal) + 1) + 0.5) / (len(self.normal) + 1)
        self.deviations = [NormalDist().inv_cdf(rank) for rank in ranks.tolist()]
        self.rules = rules
        self.total, self.count = 0.0, 0
        self.up = self.down = 0.0

    def push(self, score: float) -> str:
        """Take a score; returns ``higher`` or ``lower`` where the scores have drifted, once each time, else nothing."""
        if not self.normal:
            return ""
        self.total += self.deviations[bisect_right(self.normal, score)]
        self.count += 1
        if self.count < self.rules.drift_windows:
            return ""
        deviation = self.total / self.count * math.sqrt(self.count / 4)
        self.total, self.count = 0.0, 0
        self.up = max(0.0, self.up + deviation - 0.5)
        self.down = max(0.0, self.down - deviation - 0.5)
        found = "higher" if self.up > self.rules.drift_limit else "lower" if self.down > self.rules.drift_limit else ""
        if found:
            self.up = self.down = 0.0
        return found


class Monitor:
    """Scores in, messages out: events with start, end and peak, and drift.

    What it keeps does not grow: a few scores, and sums.

    Args:
        threshold: Scores above it are anomalous.
        normal: Scores ``(N,)`` of normal training clips, held out.
        hop: Seconds from one window to the next.
        rules: When scores become events.

    Attributes:
        windows: How many scores it took.
        watched: How many of them after the time of grace.
        events: How many events began.

    Raises:
        UserError: The threshold or a normal score is not finite.
    """

    def __init__(self, threshold: float, normal: Tensor, hop: float, rules: Rules) -> None:
        if not (math.isfinite(threshold) and bool(normal.isfinite().all())):
            raise UserError(f"the threshold ({threshold}) or a score of a normal clip is not finite; no event follows")
        self.threshold, self.hop, self.rules = threshold, hop, rules
        self.drift = Drift(normal, rules)
        self.expected = float((normal > threshold).float().mean()) if len(normal) else math.nan
        self.recent: deque[float] = deque(maxlen=rules.smooth)
        self.flags: deque[tuple[float, float, bool]] = deque(maxlen=rules.among)
        self.event: Message | None = None
        self.windows = self.watched = self.above = self.events = self.drifts = self.unusable = 0
        self._begin: float | None = None
        self._ended, self._last_high = -math.inf, -math.inf

    def push(self, time: float, score: float) -> Iterator[Message]:
        """Take the score of the window that begins at `time`, in seconds; gives what is to be told.

        A score that is not finite is told as such, and counts for nothing else.
        """
        if not math.isfinite(score):
            self.unusable += 1
            yield {"type": "unusable", "time": time, "reason": "its score is not finite (NaN or infinity)"}
            return
        self.windows += 1
        self._begin = time if self._begin is None else self._begin
        if time < self._begin + self.rules.grace:
            return
        self.watched += 1
        self.above += score > self.threshold
        self.recent.append(score)
        smoothed = sorted(self.recent)[len(self.recent) // 2]
        self.flags.append((time, score, smoothed > self.threshold))
        high = [at for at, _, above in self.flags if above]
        self._last_high = high[-1] if high else self._last_high
        if self.event is None and len(high) >= self.rules.needed and time >= self._ended + self.rules.hold_off:
            self.events += 1
            peak, at_peak = max((one, at) for at, one, _ in self.flags)
            self.event = {
                "start": high[0], "score": score, "peak": peak, "peak_time": at_peak, "windows": len(high) - 1,
            }  # fmt: skip
            yield {"type": "event_start", "start": high[0], "score": score, "threshold": self.threshold}
        if self.event is not None:
            self.event["windows"] += 1
            if score > self.event["peak"]:
                self.event |= {"peak": score, "peak_time": time}
            if not high and time >= self._last_high + self.rules.re_arm:
                yield from self._end(time)
        else:
            direction = self.drift.push(score)
            if direction:
                self.drifts += 1
                yield {"type": "drift", "time": time, "scores": direction, **self._rates()}

    def gap(self, time: float) -> Iterator[Message]:
        """What came before has nothing to do with what comes next; an event ends here."""
        self.recent.clear()
        self.flags.clear()
        self._begin = None
        yield from self._end(time)

    def whole(self, start: float, end: float, score: float) -> Iterator[Message]:
        """An event that is a recording as a whole, of that score."""
        self.events += 1
        yield {"type": "event_start", "start": start, "score": score, "threshold": self.threshold}
        self.event = {"start": start, "score": score, "peak": score, "peak_time": start, "windows": 1}
        yield from self._end(end)

    def finish(self, time: float) -> Iterator[Message]:
        """The end of the stream: an event that goes on is told as such, then a summary."""
        if self.event is not None:
            yield {"type": "event_end", **self.event, "end": time, "open": True}
            self.event = None
        counts = {"windows": self.windows, "events": self.events, "drifts": self.drifts}
        yield {"type": "summary", "end": time, **counts, **self._rates()}

    def _end(self, time: float) -> Iterator[Message]:
        if self.event is not None:
            yield {"type": "event_end", **self.event, "end": time, "open": False}
            self.event, self._ended = None, time

    def _rates(self) -> Message:
        """Windows above the threshold in an hour, and how many are expected of a machine in order; after an hour."""
        hours = self.watched * self.hop / 3600
        if hours < 1:
            return {"alarms_per_hour": None, "expected_alarms_per_hour": None}
        expected = None if math.isnan(self.expected) else round(self.expected * 3600 / self.hop, 3)
        return {"alarms_per_hour": round(self.above / hours, 3), "expected_alarms_per_hour": expected}
