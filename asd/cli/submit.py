"""`asd submit`: write a submission folder of the challenge, or check one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.run_folder import RunFolder

if TYPE_CHECKING:
    from asd.evaluation.submission import Complexity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="write | check")
    write = actions.add_parser("write", help="write the folder of a system", allow_abbrev=False)
    write.add_argument("run", metavar="RUN", type=Path, help="run folder with scores and decisions")
    write.add_argument("--label", required=True, help="Surname_Institute_task2_N")
    write.add_argument(
        "--facts", metavar="FILE", type=Path, required=True, help="YAML: name, abbreviation, authors, ..."
    )
    write.add_argument(
        "--checkpoint",
        "--ckpt_path",
        metavar="CKPT",
        type=Path,
        nargs="+",
        help="of the run, files or run folders (the last one of RUN)",
    )
    write.add_argument("--out", metavar="DIR", type=Path, default=Path("submission"), help="(submission)")
    check = actions.add_parser("check", help="check the folder of a system", allow_abbrev=False)
    check.add_argument("folder", metavar="DIR", type=Path)
    check.add_argument("--truth", metavar="LIST", type=Path, help="truth list: every clip of it must be there, once")
    check.add_argument(
        "--root", metavar="DIR", type=Path, help="data root: every clip of eval_data must be there, once"
    )


def run(args: argparse.Namespace) -> int:
    """Write or check; returns the exit code: 1 where the check found something."""
    return _write(args) if args.action == "write" else _check(args)


def _write(args: argparse.Namespace) -> int:
    from asd.cli.arguments import read_mapping
    from asd.evaluation import submission

    facts: dict[str, Any] = read_mapping(str(args.facts))
    missing = [key for key in ("name", "abbreviation", "authors") if not facts.get(key)]
    if missing:
        raise UserError(f"{args.facts}: {', '.join(missing)} not given")
    checkpoints = args.checkpoint or [RunFolder(args.run).checkpoint]
    total = submission.Complexity(0, 0)
    for path in checkpoints:
        one = _count(path)
        total = submission.Complexity(total.parameters + one.parameters, total.macs + one.macs)
    home = submission.write(args.out, args.run, args.label, facts, total)
    print(f"{total.parameters:,} parameters, {total.macs:,} MACs a clip")
    print(home)
    return 0


def _count(path: Path) -> Complexity:
    from asd.training.complexity import count
    from asd.training.restore import restore

    detector, config = restore(path)
    return count(detector, float(config["data"]["init_args"]["seconds"]))


def _check(args: argparse.Namespace) -> int:
    from asd.evaluation import submission

    clips: dict[str, list[str]] = {}
    if args.root is not None:
        from asd.data.clip import Split
        from asd.data.layouts.dcase import scan

        for clip in scan(args.root, ["eval_data"], None):
            if clip.split == Split.TEST:
                clips.setdefault(clip.machine, []).append(clip.title)
    faults = submission.check(args.folder, args.truth, clips)
    for fault in faults:
        print(fault)
    print("nothing found" if not faults else f"{len(faults)} found")
    return 1 if faults else 0
