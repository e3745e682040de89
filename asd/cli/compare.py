"""`asd compare`: frozen encoders beside one another on one's data, with what each costs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.utils.yaml_file import parsed

if TYPE_CHECKING:
    from asd.comparison import Plan
    from asd.data.datamodule import ClipDataModule

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  asd compare DualBranchCNN MobileNet:weights=mn04_as,blocks=11 --data data/dcase2025t2\n"
        "  asd compare BEATs:weights=beats.pt,layers=4 encoder/ast --what bands@each --data my_recordings\n"
        "runs and epochs that were trained are compared without labels by\n"
        "  asd rescore RUN RUN --scorer KMeansScorer --choose pseudo --out chosen"
    )
    parser.add_argument(
        "encoders", metavar="ENCODER", nargs="+",
        help="CLASS or CLASS:NAME=VALUE,NAME=VALUE, see `asd encoders`; or a config that names one",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="ROOT", type=Path, help="of the challenge's layout, or a folder of recordings per machine"
    )
    parser.add_argument("--config", metavar="NAME|FILE", help="whose data are taken, such as data/synthetic")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="an argument of the data: batch_size=8"
    )
    parser.add_argument(
        "--what", metavar="NAME", nargs="+", default=["tokens", "bands"],
        help="vectors of each clip: tokens, bands/rdp4, bands@-1,-3, bands@each of the layers (tokens bands)",
    )  # fmt: skip
    parser.add_argument(
        "--grid", metavar="NAME|FILE", type=Path, default=Path("grid/compare"),
        help="back ends; encoders are compared by the last (grid/compare)",
    )  # fmt: skip
    parser.add_argument("--precision", choices=PRECISIONS, default="32", help="of the encoders (32)")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="encoders at a time (1)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/compare"),
        help="goes on with what is there; several commands share a folder (runs/compare)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Compare and print; returns the exit code: 2 where an encoder failed."""
    if args.processes < 1:
        raise UserError(f"--processes is {args.processes}; give 1 or more")
    from asd.comparison import Plan, Telling, check_vectors, choices, compare, warm_up, write_page
    from asd.evaluation.back_ends import read_grid
    from asd.utils.files import replace_text

    warm_up()
    check_vectors(args.what)
    encoders, back_ends = choices(args.encoders), read_grid(args.grid)
    data = _data(args)
    alone = args.processes == 1 and sys.stderr.isatty()
    plan = Plan(encoders, data, args.what, back_ends, args.out, PRECISIONS[args.precision], args.processes, alone)
    headline = _headline(plan)
    print(f"{headline}; {plan.there} embedded already", flush=True)
    found = compare(plan, Telling(_say, _explained, None if alone else "log.txt"))
    replace_text(args.out / "comparison.csv", found.csv())
    write_page(args.out / "comparison.html", found, headline, _facts(plan, found.back_ends))
    print(found.table().text())
    if any(one.rows for one in found.encoders):
        print(f"\n{found.details().text()}")
    print("", *found.remarks(), sep="\n")
    if found.failed:
        names = ", ".join(one.name for one in found.failed)
        print(f"asd: error: {len(found.failed)} of {len(encoders)} encoders failed: {names}", file=sys.stderr)
    print(args.out / "comparison.html")
    return 2 if found.failed else 0


def _data(args: argparse.Namespace) -> ClipDataModule:
    """The data module, with its clips listed and their files looked at."""
    from asd.cli.arguments import read_mapping
    from asd.configured import configured
    from asd.data.datamodule import ClipDataModule
    from asd.data.layouts.recordings import is_recordings

    if args.data is None and args.config is None:
        raise UserError(
            "no data: add --data ROOT, or --config data/synthetic to try it on machines that are synthesised"
        )
    if args.config is None:
        spec: Any = "Recordings" if is_recordings(args.data) else "ToyADMOS2"
    else:
        spec = read_mapping(args.config).get("data")
        if spec is None:
            raise UserError(f"{args.config} names no data; give a config with a `data:` section, or --data ROOT")
    spec = {"class_path": spec} if isinstance(spec, str) else {"class_path": "ToyADMOS2", **spec}
    arguments = dict(spec.get("init_args") or {})
    arguments |= {} if args.data is None else {"root": str(args.data)}
    for setting in args.set:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: give NAME=VALUE, such as batch_size=8")
        arguments[name] = parsed(value, f"--set {name}")
    data: ClipDataModule = configured({**spec, "init_args": arguments}, ClipDataModule, importing=True)  # type: ignore[type-abstract]
    data.prepare_data()
    data.setup("validate")
    return data


def _headline(plan: Plan) -> str:
    """What will be done, in one line."""
    data = plan.data
    machines = len({clip.machine_section for clip in data.reference_clips})
    labelled = any(clip.condition is not None for clip in data.query_clips)
    clips = f"{len(data.reference_clips)} normal and {len(data.query_clips)} test clips"
    return (
        f"comparing {_counted(len(plan.encoders), 'frozen encoder')} on {getattr(data, 'root', 'the data')}: "
        f"{clips}{'' if labelled else ', unlabelled,'} of {_counted(machines, 'machine')}, {data.seconds:g} s each; "
        f"{', '.join(plan.what)} by {_counted(len(plan.back_ends), 'back end')}, into {plan.out}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _facts(plan: Plan, back_ends: Sequence[str]) -> list[tuple[str, str]]:
    import platform

    from asd._version import __version__

    facts = [("asd", __version__), ("system", platform.platform()), ("precision", plan.precision)]
    facts += [("data", f"{type(plan.data).__name__} in {getattr(plan.data, 'root', '')}")]
    facts += [(f"back end {number}", name) for number, name in enumerate(back_ends, 1)]
    stores = [f"{name}, in {folder}" for name, folder in plan.folders.items()]
    return facts + [(f"encoder {number}", name) for number, name in enumerate(stores, 1)]


def _say(line: str) -> None:
    from asd.utils.log import logger

    logger.info(line)


def _explained(error: BaseException) -> str:
    """An exception of a process that embeds or scores, in one line."""
    from asd.cli import faults

    return faults.outcome(error, sys.argv[1:])[1].removeprefix("asd: ").removeprefix("error: ")
