"""`asd configs`: the configurations that come with the program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from asd.errors import UserError
from asd.utils import configs
from asd.utils.configs import DEPLOYMENT
from asd.utils.files import replace_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | show | copy")
    actions.add_parser("list", help="what there is; each name goes with --config", allow_abbrev=False)
    show = actions.add_parser("show", help="print one whole, with what it builds on", allow_abbrev=False)
    copy = actions.add_parser("copy", help="write one whole, to change it; or deploy", allow_abbrev=False)
    for parser in (show, copy):
        parser.add_argument("name", metavar="NAME", help="a name that `asd configs list` shows, or a file")
    copy.epilog = f"`asd configs copy {DEPLOYMENT} DIR` writes the files of containers, services and dashboards."
    copy.add_argument("folder", metavar="DIR", nargs="?", type=Path, default=Path(), help="where to (here)")
    copy.add_argument("--force", action="store_true", help="replace a file that is there")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    if args.action == "list":
        return _list()
    if args.action == "show":
        print(configs.text(args.name), end="")
        return 0
    if args.name == DEPLOYMENT and not Path(DEPLOYMENT).is_file():
        files = {name: path.read_text(encoding="utf-8") for name, path in configs.deployment().items()}
        _write({args.folder / name: text for name, text in files.items()}, args.force)
        print(args.folder)
        return 0
    place = args.folder / configs.find(args.name).name
    _write({place: configs.text(args.name)}, args.force)
    print(place)
    return 0


def _list() -> int:
    found = configs.packaged()
    width = max(map(len, found), default=0) + 2
    for name, path in found.items():
        print(f"{name:{width}}{configs.summary(path)}")
    return 0


def _write(texts: Mapping[Path, str], force: bool) -> None:
    for place in texts:
        if place.is_dir() or (place.exists() and not force):
            raise UserError(f"{place} is there already; give another folder, or --force to replace a file")
    for place, text in texts.items():
        try:
            replace_text(place, text)
        except OSError as error:
            raise UserError(f"cannot write {place}: {error.strerror or error}; give another folder") from error
