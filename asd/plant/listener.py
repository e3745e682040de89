"""One source: from what it gives to complete events, with clips, and where it was at the last start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from asd.events.event import Event
from asd.events.state import State
from asd.inference.commission import Commission
from asd.inference.monitor import Message
from asd.inference.recalibration import Calibrated
from asd.inference.stream import Block, Seen
from asd.inference.watching import Watcher
from asd.plant.clips import Clips, Recorder
from asd.plant.model import OneModel, Scores
from asd.plant.options import Options
from asd.plant.reporting import Reporter
from asd.utils.text import as_text


class Listener:
    """Listens to a source for one machine.

    Args:
        name: Of the source.
        number: Of the machine and section.
        options: How is listened.
        model: What scores.
        hand_on: Called with every event, of every window's score as well.
        state: Where it keeps how far a folder was heard.
        clips: Where the sound around events is kept; ``None``: it is not.
        commission: What sets the limits first; ``None``: nothing does.
        commissioned: Called with what it found.

    Attributes:
        judged: How many files of a folder were taken.
    """

    def __init__(
        self,
        name: str,
        number: int,
        options: Options,
        model: OneModel,
        hand_on: Callable[[Event], None],
        state: State,
        clips: Clips | None = None,
        commission: Commission | None = None,
        commissioned: Callable[[Calibrated], None] = lambda _: None,
    ) -> None:
        self.name, self.options, self.state = name, options, state
        rules, self._clips = options.rules, clips
        self._folder: Path | None = None
        self.judged = 0
        self._recorder: Recorder | None = None
        scores = Scores(model, number, rules.among if options.explain else 0)
        self.report = Reporter(name, model.detector, number, scores, hand_on, self._clip)
        self.watcher = Watcher(
            model.detector, number, rules, self.report, True, commission, commissioned, scores, scores.keep
        )

    def folder(self, folder: Path, poll: float, follow: bool, clock: Callable[[float], None] = time.sleep) -> None:
        """Judge the files of a folder that were not judged before, see `asd.inference.watching.Watcher.folder`."""
        self._folder = folder
        seen = Seen.of(self.state.place(self.name))

        def keep() -> None:
            self.judged += 1
            self.state.keep_place(self.name, seen.to_dict())

        self.watcher.folder(folder, poll, follow, seen, keep, clock)

    def stream(self, blocks: Iterable[Block], sample_rate: int, source: str, live: bool) -> None:
        """Listen to a stream, see `asd.inference.watching.Watcher.stream`."""
        if self._clips is not None:
            cut, rules = self.watcher.detector.cut, self.options.rules
            late = cut.seconds + cut.hop * (rules.among + rules.smooth)
            before, longest = self.options.clip_before, self.options.clip_seconds
            self._recorder = Recorder(sample_rate, before, longest, late, self.watcher.heard)
            blocks = self._recorder.tap(blocks)
        self.watcher.stream(blocks, sample_rate, source, live)

    def tell_state(self, state: str, reason: str) -> None:
        """Tell that the source is ``away`` or ``stalled``, and why, or ``heard`` again."""
        now = time.time() if self._folder is not None else self.watcher.heard
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        self.report({"type": "source", "time": now, "at": at, "state": state, "reason": reason})

    def _clip(self, message: Message) -> str | None:
        """Of a folder the file; of a stream, once the event is over, a clip."""
        if self._folder is not None and "file" in message:
            return as_text(str(self._folder.absolute() / message["file"]))
        if self._recorder is None or self._clips is None:
            return None
        if message["type"] == "event_start":
            self._recorder.begin(message["start"])
            return None
        return self._clips.keep(self.name, self._recorder.end(), self._recorder.rate)
