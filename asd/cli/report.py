"""`asd report`: one HTML file that tells all of a run, or its model card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run of `asd fit`")
    parser.add_argument("--out", metavar="FILE", type=Path, help="(report.html, or model_card.md, in the run)")
    parser.add_argument("--card", action="store_true", help="a model card in Markdown in the place of the page")
    parser.add_argument("--data", metavar="ROOT", type=Path, help="where the data lies now")
    parser.add_argument("--clips", type=int, default=3, metavar="N", help="of each kind and machine (3)")
    parser.add_argument("--no-audio", action="store_true", help="neither players nor explanations")


def run(args: argparse.Namespace) -> int:
    """Write the report; returns the exit code."""
    from asd.report import Options, write, write_card

    if args.card:
        print(write_card(args.run, args.out))
        return 0

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {of} clips explained", end="" if done < of else "\n", file=sys.stderr, flush=True)

    written = write(args.run, args.out, Options(args.clips, args.data, not args.no_audio), progress)
    for note in written.notes:
        print(f"asd: warning: {note}", file=sys.stderr)
    print(f"{written.path} ({written.megabytes:.1f} MB)")
    return 0
