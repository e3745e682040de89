"""`asd watch`: listen on and on, and tell what happens as JSON lines, with a line for people beside each."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asd.cli.otherwise import add_otherwise
from asd.cli.thresholds import add_false_alarms
from asd.errors import UserError
from asd.machine import titles
from asd.utils import strict_json

if TYPE_CHECKING:
    from asd.inference.monitor import Message
    from asd.inference.recalibration import Calibrated
    from asd.inference.watching import Watcher

_FORMATS = ("s16le", "s32le", "f32le")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", help="a folder that a recorder writes into, a file, - for a pipe, or microphone")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, required=True, help="or a run's folder")
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows (half a window)")
    add_false_alarms(parser, "as the checkpoint was asked for, or 1/day")
    parser.add_argument(
        "--commission", metavar="TIME", help="set the limits by what is heard first, such as 24h, without any event"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="of --commission: a checkpoint with these limits")
    parser.add_argument("--smooth", type=int, default=3, metavar="N", help="median of so many windows (3)")
    parser.add_argument("--event", default="3/5", metavar="N/OF", help="an event is so many windows of so many (3/5)")
    parser.add_argument("--grace", type=float, default=0, metavar="SECONDS", help="no event at the start (0)")
    parser.add_argument("--hold-off", type=float, default=0, metavar="SECONDS", help="least between events (0)")
    parser.add_argument("--re-arm", type=float, default=0, metavar="SECONDS", help="below before an event ends (0)")
    parser.add_argument("--speed", type=float, default=1.0, help="of a file: times its own; 0: as fast as can be (1)")
    parser.add_argument("--once", action="store_true", help="of a folder: end when every file is judged")
    parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="of a folder: between looks (1)")
    parser.add_argument("--rate", type=int, default=16000, help="of a pipe or microphone, in Hz (16000)")
    parser.add_argument("--channels", type=int, default=1, help="of a pipe or microphone (1)")
    parser.add_argument("--format", choices=_FORMATS, default="s16le", help="of a pipe (s16le)")
    parser.add_argument("--buffer", type=float, default=60.0, metavar="SECONDS", help="of live sound at most (60)")
    add_otherwise(parser)
    parser.add_argument("--scores", action="store_true", help="tell the score of every window, too")
    parser.add_argument("--quiet", action="store_true", help="no lines for people, on standard error")
    parser.add_argument("--webhook", metavar="URL", help="POST events and drift there")


def run(args: argparse.Namespace) -> int:
    """Watch until the source ends; returns the exit code: 1 where there was an event."""
    from asd.cli.watch_lines import line
    from asd.inference import Detector
    from asd.inference.commission import Commission, seconds_of
    from asd.inference.monitor import Rules
    from asd.inference.recalibration import USUAL_BUDGET
    from asd.inference.rewriting import rewrite
    from asd.inference.watching import Watcher
    from asd.inference.webhook import Webhook

    rules = Rules(args.smooth, *_parts(args.event), grace=args.grace, hold_off=args.hold_off, re_arm=args.re_arm)
    times = 0 < args.buffer < math.inf and 0 < args.poll < math.inf and 0 <= args.speed < math.inf
    if min(args.rate, args.channels) < 1 or not times:
        raise UserError("--rate, --channels, --buffer and --poll must be above 0, --speed 0 or more")
    detector = Detector.load(args.checkpoint, hop=args.hop, recorded_otherwise=args.recorded_otherwise)
    if args.hop is None:
        detector = detector.with_hop(detector.cut.seconds / 2)
    budget = args.false_alarms or detector.model.sections.threshold.false_alarms or USUAL_BUDGET
    detector.allow(budget)
    number = detector.section_index(args.machine)
    sections = detector.model.sections.sections
    title = titles(sections)[sections[number]]
    hook = Webhook(args.webhook) if args.webhook else None

    if args.out is not None and args.commission is None:
        raise UserError("--out goes with --commission")
    commission = None
    if args.commission is not None:
        commission = Commission(detector, number, seconds_of(args.commission), budget)

    def keep(found: Calibrated) -> None:
        if args.out is not None:
            rewrite(args.checkpoint, args.out, detector, found, "commission", args.source, budget)

    def tell(message: Message) -> None:
        print(strict_json.dumps(message), flush=True)
        said = "" if args.quiet else line(title, message)
        if said:
            print(said, file=sys.stderr, flush=True)
        if hook is not None and message["type"] not in ("score", "file", "remark"):
            hook.send({"machine": detector.machines[number], **message})

    watcher = Watcher(detector, number, rules, tell, args.scores, commission, keep)
    try:
        with detector.weights_kept():
            if Path(args.source).is_dir():
                watcher.folder(Path(args.source), args.poll, follow=not args.once)
            else:
                _listen(watcher, args)
    finally:
        if hook is not None:
            hook.close()
    return 1 if watcher.events else 0


def _listen(watcher: Watcher, args: argparse.Namespace) -> None:
    from asd.inference import stream

    live, rate = args.source in ("-", "microphone"), args.rate
    if args.source == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed; pipe raw samples into `asd watch -`")
        blocks = stream.from_pipe(sys.stdin.buffer, rate, args.channels, args.format)
    elif args.source == "microphone":
        blocks = stream.from_microphone(rate, args.channels)
    else:
        rate = stream.rate_of(Path(args.source), watcher.detector.cut.channel)
        blocks = stream.from_file(Path(args.source), args.speed)
    if live or args.speed > 0:
        blocks = stream.buffered(blocks, args.buffer, rate)
    watcher.stream(blocks, rate, "the pipe" if args.source == "-" else args.source, live)


def _parts(text: str) -> tuple[int, int]:
    needed, _, among = text.partition("/")
    if not needed.isdecimal() or not among.isdecimal():
        raise UserError(f"--event is {text!r}; give so many of so many windows, as 3/5")
    return int(needed), int(among)
