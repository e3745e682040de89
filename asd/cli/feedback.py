"""`asd feedback`: tell the detector that a verdict was wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

from asd.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("clip", metavar="CLIP", nargs="?", type=Path, help="the recording that was judged wrongly")
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--false-alarm", action="store_true", help="it is normal")
    kind.add_argument("--missed", action="store_true", help="it is a fault")
    kind.add_argument("--undo", metavar="MARK", help="take back what was said")
    kind.add_argument("--list", action="store_true", help="what was said, and holds")


def run(args: argparse.Namespace) -> int:
    """Append to the log and print what changes; returns the exit code."""
    from asd.inference import Detector, feedback
    from asd.inference.windows import windows_of
    from asd.run_folder import checkpoint_at

    checkpoint = checkpoint_at(args.checkpoint)
    log = feedback.log_of(checkpoint)
    if args.list or args.undo:
        known = feedback.read(log)
        if args.undo:
            if args.undo not in {one.mark for one in known}:
                raise UserError(f"{log} holds nothing by the mark {args.undo!r}; see `asd feedback RUN --list`")
            feedback.append(log, feedback.Said("undo", undoes=args.undo))
            known = feedback.read(log)
        for one in known:
            print(f"{one.mark}  {one.when}  {one.machine}  {one.kind}  {one.clip}")
        return 0
    if args.clip is None or not (args.false_alarm or args.missed):
        raise UserError("give the clip, and --false-alarm or --missed; see `asd feedback --help`")
    detector = Detector.load(checkpoint)
    before = detector.score(args.clip, machine=args.machine)
    kind: feedback.Kind = "missed" if args.missed else "false_alarm"
    windows = detector.embed(part for _, part in windows_of(args.clip, detector.cut))
    said = feedback.append(log, feedback.Said.of(kind, before.machine, args.clip.name, windows, detector.model))
    after = Detector.load(checkpoint).score(args.clip, machine=args.machine)
    for when, result in (("before", before), ("now", after)):
        print(f"{when}: {result.decision}, score {result.score:.6g}, threshold {result.threshold:.6g}")
    print(f"in {log}; take it back with `asd feedback {args.checkpoint} --undo {said.mark}`")
    return 0
