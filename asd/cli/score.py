"""`asd score`: is this machine in order?"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.cli.otherwise import add_otherwise
from asd.cli.thresholds import add_false_alarms
from asd.utils import strict_json
from asd.utils.text import shown

if TYPE_CHECKING:
    from asd.inference import Result

_COLUMNS = ("file", "machine", "score", "threshold", "percentile", "decision")
_MORE = ("remarks", "p_value")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="recordings, or folders of recordings")
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=Path, required=True, help="of `asd fit`, or a run's folder"
    )
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows of long recordings (one window)")
    parser.add_argument("--aggregate", choices=("mean", "max"), default="mean", help="of the windows' scores (mean)")
    add_false_alarms(parser, "as the checkpoint has it")
    parser.add_argument(
        "--fdr", type=float, metavar="RATE", help="decide all together: so many of the alarms are normal, at most"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    add_otherwise(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line, with every window")
    form.add_argument("--csv", action="store_true", help="comma-separated values")


def run(args: argparse.Namespace) -> int:
    """Score and print; returns 1 where a recording is anomalous, 2 where one cannot be used, else 0."""
    from asd.data.audio.decoding import AudioError
    from asd.data.layouts.walk import recordings_in
    from asd.inference import Detector
    from asd.inference.discoveries import discoveries
    from asd.inference.result import Usual
    from asd.utils.memory import keep_freed_memory

    keep_freed_memory()
    detector = Detector.load(
        args.checkpoint, args.device, args.hop, args.aggregate, args.false_alarms, args.recorded_otherwise
    )
    number = detector.section_index(args.machine)
    paths = list(recordings_in(args.files))
    titles = dict(zip(detector.machines, detector.titles, strict=True))
    write = _Json() if args.json else _Csv() if args.csv else _Table(paths, titles)
    anomalous = failed = False
    results: list[Result] = []

    def tell(error: AudioError) -> None:
        nonlocal failed
        print(f"asd: error: {shown(' '.join(str(error).split()))}", file=sys.stderr)
        failed = True  # the others are scored all the same

    with detector.weights_kept():
        for result in detector.score_files(paths, args.machine, tell):
            if args.fdr is None:
                anomalous |= result.anomalous
                write(result)
            results.append(result)
    if args.fdr is not None:
        least = Usual.of(detector.model.sections, number).normal.p_value(math.inf)
        if least > args.fdr:
            print(
                f"asd: warning: {1 / least - 1:.0f} normal recordings give no p-value below "
                f"{least:.2g}, so at a false discovery rate of {args.fdr:g} nothing can be found; give a higher rate, "
                f"or {1 / args.fdr - 1:.0f} recordings (asd calibrate --add)",
                file=sys.stderr,
            )
        for result in discoveries(results, args.fdr):
            anomalous |= result.anomalous
            write(result)
    return 2 if failed else int(anomalous)


def _cells(result: Result) -> tuple[str, ...]:
    return (
        shown(result.name), result.machine, f"{result.score:.6g}", f"{result.threshold:.6g}",
        f"{result.percentile:.1f}", result.decision,
    )  # fmt: skip


class _Json:
    def __call__(self, result: Result) -> None:
        print(strict_json.dumps(result.to_dict()), flush=True)


class _Csv:
    def __init__(self) -> None:
        self.writer: Any = csv.writer(sys.stdout, lineterminator="\n")
        self.writer.writerow(_COLUMNS + _MORE)

    def __call__(self, result: Result) -> None:
        # Data, as it is; but no control characters for a terminal, and no end of line that csv leaves unquoted.
        name = shown(result.name) if sys.stdout.isatty() or "\r" in result.name else result.name
        self.writer.writerow((name, *_cells(result)[1:], "; ".join(result.remarks), f"{result.p_value:.6g}"))


class _Table:
    """Columns as wide as the names, so that a line can be printed as soon as it is known."""

    def __init__(self, paths: list[Path], titles: dict[str, str]) -> None:
        self.titles = titles
        self.widths = (
            max(len(shown(str(p))) for p in [*paths, "file"]),
            max(map(len, [*titles.values(), "machine"])),
            *(10, 10, 10),
        )
        self._print(_COLUMNS)

    def __call__(self, result: Result) -> None:
        name, machine, *others = _cells(result)
        self._print((name, self.titles[machine], *others))
        for remark in result.remarks:
            print(f"asd: warning: {shown(result.name)}: {remark}", file=sys.stderr)

    def _print(self, cells: tuple[str, ...]) -> None:
        pairs = enumerate(zip(cells[:-1], self.widths, strict=True))
        text = [f"{cell:{'<' if n < 2 else '>'}{width}}" for n, (cell, width) in pairs]
        print("  ".join([*text, cells[-1]]), flush=True)
