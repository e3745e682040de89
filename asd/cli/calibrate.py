"""`asd calibrate`: limits anew for a machine, from its normal recordings where the detector works."""

from __future__ import annotations

import argparse
from pathlib import Path

from asd.cli.thresholds import add_false_alarms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="normal recordings of the place, or of the day")
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    add_false_alarms(parser, "1/day", "1/day")
    parser.add_argument(
        "--add", action=argparse.BooleanOptionalAction, default=True, help="take them into the references as well"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="the new checkpoint (NAME.ckpt)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows (one window)")


def run(args: argparse.Namespace) -> int:
    """Calibrate and print; returns the exit code."""
    from asd.inference import calibrate

    out = args.out or Path(f"{args.machine or 'calibrated'}.ckpt")
    done = calibrate(args.checkpoint, args.folder, args.machine, out, args.false_alarms, args.add, args.hop)
    use = "references from now on" if done.added else "no references: limits alone follow from them"
    print(f"{done.machine_section.machine}: {done.recordings} recordings, {done.windows} windows; {use}")
    print(f"threshold {done.before.alarm:.6g} before; {done.was_expected.line(done.hop)}")
    band = f", uncertain above {done.after.abstain:.6g}" if done.after.abstain < done.after.alarm else ""
    print(f"threshold {done.after.alarm:.6g} now{band}; {done.expected.line(done.hop)}")
    unkept = done.expected.unkept(args.false_alarms, done.hop)
    if unkept:
        print(unkept)
    print(done.path)
    return 0
