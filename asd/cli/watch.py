"""`asd watch`: listen on and on, and tell what happens as JSON lines."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.utils import strict_json
from asd.utils.text import as_text, shown

if TYPE_CHECKING:
    from asd.inference import Detector
    from asd.inference.monitor import Message, Monitor

_FORMATS = ("s16le", "s32le", "f32le")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", help="a folder that a recorder writes into, a file, - for a pipe, or microphone")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, required=True, help="or a run's folder")
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows (half a window)")
    parser.add_argument("--smooth", type=int, default=3, metavar="N", help="median of so many windows (3)")
    parser.add_argument("--event", default="3/5", metavar="N/OF", help="an event is so many windows of so many (3/5)")
    parser.add_argument("--speed", type=float, default=1.0, help="of a file: times its own; 0: as fast as can be (1)")
    parser.add_argument("--once", action="store_true", help="of a folder: end when every file is scored")
    parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="of a folder: between looks (1)")
    parser.add_argument("--rate", type=int, default=16000, help="of a pipe or microphone, in Hz (16000)")
    parser.add_argument("--channels", type=int, default=1, help="of a pipe or microphone (1)")
    parser.add_argument("--format", choices=_FORMATS, default="s16le", help="of a pipe (s16le)")
    parser.add_argument("--buffer", type=float, default=60.0, metavar="SECONDS", help="of live sound at most (60)")
    parser.add_argument("--scores", action="store_true", help="tell the score of every window, too")
    parser.add_argument("--webhook", metavar="URL", help="POST events and drift there")


def run(args: argparse.Namespace) -> int:
    """Watch until the source ends; returns the exit code: 1 where there was an event, 2 where all was unusable."""
    from asd.inference import Detector
    from asd.inference.monitor import Monitor, Rules
    from asd.inference.webhook import Webhook

    rules = Rules(args.smooth, *_parts(args.event))
    times = 0 < args.buffer < math.inf and 0 < args.poll < math.inf and 0 <= args.speed < math.inf
    if min(args.rate, args.channels) < 1 or not times:
        raise UserError("--rate, --channels, --buffer and --poll must be above 0, --speed 0 or more")
    detector = Detector.load(args.checkpoint, hop=args.hop)
    if args.hop is None:
        detector = detector.with_hop(detector.cut.seconds / 2)
    number = detector.section_index(args.machine)
    sections = detector.model.sections
    normal = sections.training_scores(number)[0]
    monitor = Monitor(sections.limits(number).alarm, normal, detector.cut.hop, rules)
    hook = Webhook(args.webhook) if args.webhook else None

    def tell(message: Message) -> None:
        print(strict_json.dumps(message), flush=True)
        if hook is not None and message["type"] != "score":
            hook.send({"machine": detector.machines[number], **message})

    watch = _watch_folder if Path(args.source).is_dir() else _watch_stream
    try:
        with detector.weights_kept():
            unusable = watch(args, detector, number, monitor, tell)
    finally:
        if hook is not None:
            hook.close()
    return 1 if monitor.events else 2 if unusable and not monitor.windows else 0


def _watch_stream(
    args: argparse.Namespace, detector: Detector, number: int, monitor: Monitor, tell: Callable[[Message], None]
) -> int:
    """Returns how many windows could not be used."""
    from asd.inference import stream

    live = args.source in ("-", "microphone")
    if args.source == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed; pipe raw samples into `asd watch -`")
        blocks = stream.from_pipe(sys.stdin.buffer, args.rate, args.channels, args.format)
    elif args.source == "microphone":
        blocks = stream.from_microphone(args.rate, args.channels)
    else:
        blocks = stream.from_file(Path(args.source), args.speed)
    rate = args.rate if live else stream.rate_of(Path(args.source))
    windower = stream.Windower(detector.cut, rate)
    lost, dead = 0, ""
    try:
        for block in stream.buffered(blocks, args.buffer) if live or args.speed > 0 else blocks:
            if block.lost:
                lost += block.lost
                _tell_all(monitor.gap(windower.time), tell)
                tell({"type": "gap", "time": windower.time, "seconds": block.lost / rate})
            for start, window in windower.push(block):
                _take(start, detector.score_windows([window], number)[0], monitor, tell, args.scores)
                dead = ""
            for start, why in windower.left_out:
                if why != dead:  # once, not again for each window while it lasts
                    tell({"type": "unusable", "time": start, "reason": why})
                dead = why
        if windower.time < detector.cut.seconds:
            why = f"too short to judge, {windower.time:.3g} s; a window is {detector.cut.seconds:g} s"
            tell({"type": "unusable", "time": 0.0, "reason": why})
    finally:
        for message in monitor.finish(windower.time):
            if message["type"] == "summary":
                unusable = windower.unusable + monitor.unusable
                message |= {"lost_seconds": lost / rate, "unusable_windows": unusable}
            tell(message)
    return windower.unusable + monitor.unusable


def _watch_folder(
    args: argparse.Namespace, detector: Detector, number: int, monitor: Monitor, tell: Callable[[Message], None]
) -> int:
    """Returns how many files could not be used, wholly or in part."""
    from asd.data.audio.decoding import AudioError
    from asd.inference.stream import new_files
    from asd.inference.windows import windows_of

    failed, now = 0, time.time()
    try:
        for path in new_files(Path(args.source), args.poll, follow=not args.once):
            name = as_text(path.relative_to(args.source).as_posix())
            told = monitor.unusable
            try:
                begin = path.stat().st_mtime

                def left_out(start: float, why: str, begin: float = begin, name: str = name) -> None:
                    tell({"type": "unusable", "time": begin + start, "file": name, "reason": why})

                for start, window in windows_of(path, detector.cut, on_unusable=left_out):
                    now = begin + start
                    _take(now, detector.score_windows([window], number)[0], monitor, tell, args.scores, name)
                failed += monitor.unusable > told
            except (AudioError, OSError) as error:
                failed += 1
                tell({"type": "unusable", "file": name, "reason": shown(" ".join(str(error).split()))})
    finally:
        for message in monitor.finish(now):
            tell({**message, "unusable_files": failed} if message["type"] == "summary" else message)
    return failed


def _take(
    at: float, score: float, monitor: Monitor, tell: Callable[[Message], None], scores: bool, name: str = ""
) -> None:
    file: dict[str, Any] = {"file": name} if name else {}
    if scores and math.isfinite(score):
        tell({"type": "score", "time": at, "score": score, **file})
    for message in monitor.push(at, score):
        tell({**message, **file})


def _tell_all(messages: Iterator[Message], tell: Callable[[Message], None]) -> None:
    for message in messages:
        tell(message)


def _parts(text: str) -> tuple[int, int]:
    needed, _, among = text.partition("/")
    if not needed.isdecimal() or not among.isdecimal():
        raise UserError(f"--event is {text!r}; give so many of so many windows, as 3/5")
    return int(needed), int(among)
