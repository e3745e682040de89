"""`asd data`: download or synthesise a data set, check one, and list the auxiliary classes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from asd.cli import pseudo_label
from asd.cli.mix import add_mix_arguments, run_mix
from asd.cli.progress import progress
from asd.utils.columns import columns

if TYPE_CHECKING:
    from asd.data.check.check import Report

CLASS_CHOICES = ("per_machine", "shared", "none")
_LISTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their options."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_synthesize(commands.add_parser("synthesize", help="make a data set of synthetic machines", allow_abbrev=False))
    _add_download(commands.add_parser("download", help="download a year's data from Zenodo", allow_abbrev=False))
    check = commands.add_parser("check", help="count, measure, and list what must be mended", allow_abbrev=False)
    check.add_argument("root", metavar="DIR", type=Path, help="a data set, or one's own recordings")
    _add_choice(check, "all that are there")
    check.add_argument("--all", action="store_true", help=f"list every remark, not only the first {_LISTED}")
    add_mix_arguments(commands.add_parser("mix", help="mix machine sound and noise at an SNR", allow_abbrev=False))
    pack = commands.add_parser("shard", help="pack a data set into tar archives for clusters", allow_abbrev=False)
    pack.add_argument("root", metavar="ROOT", type=Path, help="a data set")
    pack.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    pack.add_argument("--megabytes", type=_count, default=1000, help="size of an archive, about (1000)")
    pack.add_argument("--seed", type=int, default=0, help="of the order of the clips (0)")
    _add_choice(pack, "dev_data")
    label = commands.add_parser("pseudo-label", help="label clips whose attributes are hidden", allow_abbrev=False)
    pseudo_label.add_arguments(label)
    check.add_argument("--html", metavar="FILE", type=Path, help="write the whole report as a page, too")
    classes = commands.add_parser("classes", help="list the auxiliary classes", allow_abbrev=False)
    classes.add_argument("root", metavar="ROOT", type=Path, nargs="?", help="a data set")
    classes.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="or a run's folder: list the classes kept in it instead"
    )
    _add_choice(classes, "dev_data")
    for kind, sound in (("clean", "clean machine sound"), ("noise", "background noise")):
        classes.add_argument(
            f"--{kind}", choices=CLASS_CHOICES, default="per_machine", help=f"classes of {sound} (default: per_machine)"
        )


def run(args: argparse.Namespace) -> int:
    """Run the sub-command; returns the exit code: 1 where `check` found something to mend."""
    actions = {
        "synthesize": _synthesize, "download": _download, "check": _check, "classes": _classes,
        "mix": run_mix, "shard": _shard, "pseudo-label": pseudo_label.run,
    }  # fmt: skip
    return actions[args.action](args)


def _add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--subsets", nargs="+", metavar="NAME", help=f"dev_data, eval_data (default: {default})")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="default: all that are there")


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("year", metavar="YEAR", type=_count, help="2020 to 2026")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the data root (data/dcaseYEARt2)")
    parser.add_argument("--subsets", nargs="+", metavar="NAME", help="dev_data, eval_data (both)")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="default: all; an unknown name lists them")
    parser.add_argument("--jobs", type=_count, default=3, help="downloads at a time (3)")
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
    parser.add_argument("--server", default="https://zenodo.org", help="a mirror of Zenodo's interface")


def _add_synthesize(parser: argparse.ArgumentParser) -> None:
    # Defaults are those of asd.data.synthesis.dataset.synthesize: what is not given is not passed on.
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="default: all; an unknown name lists them")
    parser.add_argument("--subset", help="dev_data (default) or eval_data")
    parser.add_argument("--seconds", type=_positive, help="length of a clip")
    parser.add_argument("--train-source", type=_count, metavar="N", help="normal training clips of the source domain")
    parser.add_argument("--train-target", type=_count, metavar="N", help="normal training clips of the target domain")
    parser.add_argument("--test", type=_count, metavar="N", help="test clips of each domain and condition")
    parser.add_argument("--supplemental", type=_count, metavar="N", help="supplemental clips, half of them clean")
    parser.add_argument("--severity", type=float, help="how grave the faults are (default: graded)")
    parser.add_argument("--seed", type=int, help="the same seed gives the same data")
    parser.add_argument("--year", type=_count, help="2025 (default), or 2026: a near and a far microphone")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of clips")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _synthesize(args: argparse.Namespace) -> int:
    from asd.data.synthesis.dataset import synthesize

    options = {name: value for name, value in vars(args).items() if name not in ("action", "out")}
    root = synthesize(args.out, options.pop("machines", None), **options)
    print(f"wrote {root}; asd data check {root} describes it")
    return 0


def _download(args: argparse.Namespace) -> int:
    from asd.data.download import fetch, zenodo
    from asd.errors import UserError
    from asd.utils.download import progress_bars

    root = Path("data") / f"dcase{args.year}t2" if args.out is None else args.out
    archives = fetch.find(args.year, args.subsets or zenodo.SUBSETS, args.machines, root, args.server.rstrip("/"))
    with progress_bars() as bar:
        done = fetch.fetch(archives, root, args.jobs, args.keep, bar)
    print(f"{len(done.unpacked)} archives unpacked, {len(done.there)} were there")
    if done.failed:
        name, reason = next(iter(sorted(done.failed.items())))
        more = f" ({len(done.failed) - 1} more failed; run the command again)" if len(done.failed) > 1 else ""
        raise UserError(f"{name}: {reason}{more}")
    print(root)
    return 0


def _shard(args: argparse.Namespace) -> int:
    import random

    from asd.data.layouts.dcase import scan
    from asd.data.layouts.shards import write_shards

    clips = scan(args.root, args.subsets or ("dev_data",), args.machines)
    random.Random(args.seed).shuffle(clips)  # so that every archive holds a bit of everything
    with progress("packing") as on_clip:
        written = write_shards(clips, args.out, args.megabytes * 10**6, on_clip)
    print(f"{written.clips} clips in {written.shards} archives")
    print(args.out)
    return 0


def _check(args: argparse.Namespace) -> int:
    from asd.data.check.check import check

    with progress("reading") as on_file:
        report = check(args.root, args.subsets, args.machines, on_file)
    code = _print_report(report, args.all)
    if args.html is not None:
        from asd.data.check.page import write_page

        print(write_page(args.html, report))
    return code


def _print_report(report: Report, everything: bool) -> int:
    from asd.data.check.counts import counts

    headers, rows, names = counts(report)
    print(columns(headers, rows, text=range(names)))
    remarks = report.remarks if everything else report.remarks[:_LISTED]
    print(*(f"note: {line}" for line in remarks), sep="\n", end="\n" if remarks else "")
    if len(remarks) < len(report.remarks):
        print(f"note: {len(report.remarks) - len(remarks)} more; --all lists them")
    print(*(f"mend: {line}" for line in report.faults), sep="\n", end="\n" if report.faults else "")
    hours = sum(file.seconds for file in report.files) / 3600
    verdict = f"{len(report.faults)} to mend" if report.faults else "nothing to mend"
    print(f"{len(report.files)} clips, {hours:.2f} hours: {verdict}")
    return 1 if report.faults else 0


def _classes(args: argparse.Namespace) -> int:
    from asd.data.classes import ClassTable
    from asd.errors import UserError

    if (args.root is None) == (args.checkpoint is None):
        raise UserError("give either a data set or --checkpoint FILE: asd data classes ROOT")
    if args.checkpoint is not None:
        from asd.run_folder import checkpoint_at
        from asd.training import checkpoints

        table = ClassTable(tuple(checkpoints.load(checkpoint_at(args.checkpoint))[checkpoints.KEY]["classes"]))
    else:
        from asd.data.layouts.dcase import scan
        from asd.data.layouts.recordings import is_recordings, scan_recordings

        if is_recordings(args.root):
            clips = scan_recordings(args.root, args.machines)
        else:
            clips = scan(args.root, args.subsets or ("dev_data",), args.machines, training=True)
        table = ClassTable.build(clips, args.clean, args.noise)
    rows = [[str(label), name, "" if n is None else str(n)] for label, (name, n) in enumerate(table.describe())]
    width = 3 if table.counts else 2
    print(columns(("label", "class", "clips")[:width], [row[:width] for row in rows], text=(1,)))
    return 0
