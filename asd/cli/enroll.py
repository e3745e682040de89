"""`asd enroll`: a new machine for a trained detector, without training."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="normal recordings of the machine")
    parser.add_argument("--machine", metavar="NAME", required=True, help="what to call it")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the new checkpoint (NAME.ckpt)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows (half a window)")
    parser.add_argument("--replace", action="store_true", help="learn anew a machine that is known already")


def run(args: argparse.Namespace) -> int:
    """Enroll and print; returns the exit code."""
    from asd.inference import enroll

    out = args.out or Path(f"{args.machine}.ckpt")
    done = enroll(args.checkpoint, args.machine, args.folder, out, args.hop, args.replace)
    for line in done.warnings:
        print(f"asd: warning: {line}", file=sys.stderr)
    counted = f"{done.recordings} recordings, {done.windows} windows"
    print(f"{done.machine_section.machine}: {counted}, threshold {done.threshold:.6g}")
    if not math.isnan(done.told_apart):
        print(
            f"clips of other machines score above held-out ones of this in {100 * done.told_apart:.1f} % of the pairs"
        )
    print(done.path)
    return 0
