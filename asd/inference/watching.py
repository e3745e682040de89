"""Listening for one machine: windows of a stream or of the files in a folder to messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from torch import Tensor

from asd.data.audio.decoding import AudioError, opened
from asd.data.audio.recorded import Meter
from asd.errors import UserError
from asd.inference.commission import Commission
from asd.inference.detector import Detector
from asd.inference.monitor import Message, Monitor, Rules
from asd.inference.recalibration import Calibrated
from asd.inference.stream import Block, Seen, new_files
from asd.inference.windower import Windower
from asd.inference.windows import BATCH, windows_of
from asd.scoring.limits import Decision
from asd.utils.batches import batched
from asd.utils.clock import StreamClock
from asd.utils.text import as_text, shown

_MOMENTS = {"event_start": "start", "event_end": "end", "summary": "end"}
"""Where a message says when it was; the others have ``time``."""


class Watcher:
    """Scores what it hears and tells what happens.

    Times are in seconds: of a stream since its beginning, of the files in a folder since 1970. Where it is known what
    time it was, messages have it ``at``, in ISO 8601 with the offset of this place.

    Args:
        detector: The detector.
        number: Of the machine and section it listens for.
        rules: When scores become events.
        tell: Called with every message.
        scores: Tell the score of every window, too.
        commission: What listens first and sets the limits, so that nothing is an event before; ``None``: nothing does.
        commissioned: Called with what it found, once the limits are set.
        score: Gives the scores of windows ``(T,)``; ``None``: the detector does.
        scored: Called with start, samples and score of each window, before what follows from it is told.

    Attributes:
        heard: Seconds of streams so far.
    """

    def __init__(
        self,
        detector: Detector,
        number: int,
        rules: Rules,
        tell: Callable[[Message], None],
        scores: bool = False,
        commission: Commission | None = None,
        commissioned: Callable[[Calibrated], None] = lambda _: None,
        score: Callable[[Sequence[Tensor]], list[float]] | None = None,
        scored: Callable[[float, Tensor, float], None] = lambda *_: None,
    ) -> None:
        self.detector, self.number, self.scores, self.rules = detector, number, scores, rules
        self.commission, self.commissioned = commission, commissioned
        self.monitor = self._new_monitor()
        self._tell_plainly = tell
        self._score = score or (lambda windows: detector.score_windows(windows, number))
        self._scored = scored
        self._since: float | None = None
        self.heard = 0.0

    def _new_monitor(self) -> Monitor:
        sections = self.detector.model.sections
        normal = sections.training_scores(self.number)[0]
        return Monitor(sections.limits(self.number).alarm, normal, self.detector.cut.hop, self.rules)

    @property
    def events(self) -> int:
        """How many there were."""
        return self.monitor.events

    def stream(self, blocks: Iterable[Block], sample_rate: int, source: str, live: bool = False) -> None:
        """Listen to a stream until it ends; another one goes on where it ended.

        Args:
            blocks: The stream.
            sample_rate: Hz.
            source: What it is called in errors.
            live: It is made while it is listened to, so that its time is this one.

        Raises:
            UserError: It ended before there could be an event, nothing in it could be judged, or it is refused.
        """
        windower = Windower(self.detector.cut, sample_rate, self.heard)
        clock = StreamClock(self.heard) if live else None
        self._since = None if clock is None else clock.since
        lost, dead, looked = 0, "", False

        def take(windows: Iterable[tuple[float, Tensor]]) -> None:
            nonlocal dead, looked
            for start, window in windows:
                if not looked:
                    looked = True
                    self._look(windower.meter, start, source)
                if dead:
                    self._tell({"type": "source", "time": start, "state": "heard", "reason": ""})
                self._hear([(start, window)])
                dead = ""
            for start, why in windower.left_out:
                if not dead:
                    self._tell({"type": "source", "time": start, "state": "silent", "reason": why})
                if why != dead:  # once, not again for each window while it lasts
                    self._tell({"type": "unusable", "time": start, "reason": why})
                dead = why

        try:
            for block in blocks:
                if clock is not None:
                    self._follow(clock, windower.time)
                if block.lost:
                    take(windower.finish())
                    lost += block.lost
                    self._tell_all(self.monitor.gap(windower.time))
                    self._tell({"type": "gap", "time": windower.time, "seconds": block.lost / sample_rate})
                take(windower.push(block))
                self.heard = windower.time
            take(windower.finish())
        finally:
            unusable = windower.unusable + self.monitor.unusable
            self._finish(windower.time, lost_seconds=lost / sample_rate, unusable_windows=unusable)
        self._check_commissioned(source)
        if not self.monitor.windows and unusable:
            raise UserError(f"{source}: nothing could be judged in {windower.time:.3g} s; see what was unusable")
        if self.monitor.watched < self.rules.needed:
            cut = self.detector.cut
            raise UserError(
                f"{source}: {windower.time:.3g} s are too short for an event: {self.monitor.watched} windows of "
                f"{cut.seconds:g} s, one every {cut.hop:g} s, where {self.rules.needed} are needed; judge it by "
                "`asd score`, or lower --hop or --event"
            )

    def folder(
        self,
        folder: Path,
        poll: float = 1.0,
        follow: bool = True,
        seen: Seen | None = None,
        keep: Callable[[], None] = lambda: None,
        clock: Callable[[float], None] = time.sleep,
    ) -> None:
        """Judge the files of a folder, one by one, as they come.

        A file is anomalous where an event is in it, or, as for `Detector.score`, where its score lies above the
        threshold; then it is an event as a whole. Files have nothing to do with each other.

        Args:
            folder: Where a recorder writes.
            poll: Seconds between two looks.
            follow: Go on waiting for more; else end when every file was judged.
            seen: The files that were judged before; kept up to date.
            keep: Called whenever that changed.
            clock: What waits between two looks.

        Raises:
            UserError: No such folder, or files of which none could be judged.
        """
        self._since, now, failed, judged = 0.0, time.time(), 0, 0
        try:
            for path in new_files(folder, poll, follow, clock, seen, keep):
                name = as_text(path.relative_to(folder).as_posix())
                unusable = self.monitor.unusable
                try:
                    now = self._file(path, name)
                    judged += 1
                    failed += self.monitor.unusable > unusable
                except (AudioError, OSError) as error:
                    failed += 1
                    self._tell({"type": "unusable", "file": name, "reason": shown(" ".join(str(error).split()))})
        finally:
            self._finish(now, unusable_files=failed)
        self._check_commissioned(str(folder))
        if failed and not self.monitor.windows:
            raise UserError(f"{folder}: none of {failed} files could be judged; see what was unusable")

    def _file(self, path: Path, name: str) -> float:
        """Judge a file; returns when it ends, in seconds since 1970."""
        file = opened(path, self.detector.cut.channel)
        length = file.frames / file.samplerate
        end = path.stat().st_mtime  # when its recorder wrote the last of it
        begin, before = end - length, self.monitor.events
        windows: list[tuple[float, float]] = []

        def left_out(start: float, why: str) -> None:
            self._tell({"type": "unusable", "time": begin + start, "file": name, "reason": why})

        meter = Meter()
        for some in batched(windows_of(path, self.detector.cut, file, left_out, meter), BATCH):
            if not windows:
                self._look(meter, begin, name, name)
            scores = self._hear([(begin + start, window) for start, window in some], name)
            windows += [(start, score) for (start, _), score in zip(some, scores, strict=True) if math.isfinite(score)]
        self._tell_all(self.monitor.gap(end), name)
        if not windows:
            return end
        result = self.detector.result(name, self.number, windows)
        if result.anomalous and self.monitor.events == before:
            self._tell_all(self.monitor.whole(begin, end, result.score), name)
        decision = result.decision if self.monitor.events == before else Decision.ANOMALOUS
        known = {"score": result.score, "threshold": result.threshold, "decision": str(decision)}
        self._tell({"type": "file", "time": begin, "file": name, "seconds": length, **known})
        return end

    def _follow(self, clock: StreamClock, heard: float) -> None:
        """Go by the clock of this machine, and tell where it was set."""
        by = clock.follow(heard)
        self._since = clock.since
        if by:
            way = "forward" if by > 0 else "back"
            told = f"the clock of this machine was set {way} by {abs(by):.3g} s; times follow it from here on"
            self._tell({"type": "remark", "time": heard, "remark": told})

    def _hear(self, windows: Sequence[tuple[float, Tensor]], name: str = "") -> list[float]:
        """Score windows at once and tell what follows of each; nan of those by which the machine is commissioned."""
        heard = 0
        while self.commission is not None and heard < len(windows):
            heard += self._commission(self.commission, *windows[heard], name)
        scores = self._score([window for _, window in windows[heard:]]) if heard < len(windows) else []
        for (at, window), score in zip(windows[heard:], scores, strict=True):
            self._scored(at, window, score)
            self._take(at, score, name)
        return [*[math.nan] * heard, *scores]

    def _commission(self, commission: Commission, at: float, window: Tensor, name: str) -> bool:
        """Take a window to set the limits by; returns whether it was, which it is not once they are set."""
        if not commission.push(at, window, name):
            return True
        found = commission.finished()
        self.monitor = self._new_monitor()
        self.commissioned(found)
        known = {"threshold": found.after.alarm, "uncertain": found.after.abstain, "windows": found.windows}
        self._tell({"type": "commissioned", "time": at, **known, "expected": found.expected.line(found.hop)}, name)
        self.commission = None
        return False

    def _check_commissioned(self, source: str) -> None:
        if self.commission is not None:
            raise UserError(
                f"{source}: ended after {self.commission.windows} windows, before the {self.commission.seconds:g} s "
                "were over in which it is commissioned; listen longer, or give a shorter time (--commission)"
            )

    def _look(self, meter: Meter, at: float, source: str, name: str = "") -> None:
        """Tell once how a recording differs from the normal sound, before it is judged; raises where it is refused."""
        try:
            for remark in self.detector.recordings.remarks(self.number, meter, source):
                self._tell({"type": "remark", "time": at, "remark": remark}, name)
        except AudioError as error:
            if not name:
                self._tell({"type": "unusable", "time": at, "reason": shown(str(error))})
            raise

    def _take(self, at: float, score: float, name: str = "") -> None:
        if self.scores and math.isfinite(score):
            self._tell({"type": "score", "time": at, "score": score}, name)
        self._tell_all(self.monitor.push(at, score), name)

    def _finish(self, end: float, **more: float) -> None:
        for message in self.monitor.finish(end):
            self._tell({**message, **more} if message["type"] == "summary" else message)

    def _tell_all(self, messages: Iterable[Message], name: str = "") -> None:
        for message in messages:
            self._tell(message, name)

    def _tell(self, message: Message, name: str = "") -> None:
        moment = message.get(_MOMENTS.get(message["type"], "time"))
        at = {}
        if self._since is not None and moment is not None:
            at["at"] = datetime.fromtimestamp(self._since + moment).astimezone().isoformat(timespec="seconds")
        self._tell_plainly({**message, **at, **({"file": name} if name else {})})
