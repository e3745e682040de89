"""`asd weights`: what published weights there are, fetch them, and check those in the cache folder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asd.errors import UserError

if TYPE_CHECKING:
    from asd.encoders.weights_card import WeightsCard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | fetch | verify")
    actions.add_parser("list", help="what there is, and what of it is in the cache folder", allow_abbrev=False)
    fetch = actions.add_parser("fetch", help="download into the cache folder", allow_abbrev=False)
    fetch.add_argument("names", nargs="+", metavar="NAME", help="a name that `asd weights list` shows")
    verify = actions.add_parser("verify", help="check sizes and checksums in the cache folder", allow_abbrev=False)
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are there")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    if args.action == "list":
        return _list()
    return _fetch(args.names) if args.action == "fetch" else _verify(args.names)


def _list() -> int:
    from asd.encoders.weights_cache import cache_folder, cards, file_of
    from asd.utils.columns import columns

    headers = ("name", "file", "bytes", "sha256", "licence", "paper", "in the cache", "from")
    lines = []
    for name, card in sorted(cards().items()):
        size = "not published" if card.size is None else f"{card.size:,}"
        there = "yes" if file_of(card).is_file() else "no"
        checksum = card.sha256 or card.checksum or "not published"
        place = card.url or card.source
        lines.append((name, card.file, size, checksum, card.licence, card.paper, there, place))
    print(columns(headers, lines, text=range(len(headers))))
    print(f"cache folder: {cache_folder()}")
    return 0


def _fetch(names: list[str]) -> int:
    from asd.encoders.weights_cache import check, fetch, find_card
    from asd.encoders.weights_card import State
    from asd.utils.download import progress_bars

    chosen = [find_card(name) for name in names]
    with progress_bars() as bar:
        for card in chosen:
            fetch(card, bar(card.file))
    for card in chosen:
        verified = "verified" if check(card) == State.RIGHT else "not verified: no checksum is published"
        print(f"{card.name}: {_place(card)} ({verified})")
    return 0


def _verify(names: list[str]) -> int:
    from asd.encoders.weights_cache import cards, check, find_card
    from asd.encoders.weights_card import State

    known = cards()
    chosen = [find_card(name) for name in names] or [known[name] for name in sorted(known)]
    states = {card.name: (card, check(card)) for card in chosen}
    if not names:
        states = {name: (card, state) for name, (card, state) in states.items() if state != State.MISSING}
    for name, (card, state) in states.items():
        print(f"{name}: {_place(card)}: {state.value}")
    if not states:
        print("no published weights are in the cache folder; `asd weights fetch NAME` gets some")
    bad = [name for name, (_, state) in states.items() if state not in (State.RIGHT, State.UNKNOWN)]
    if bad:
        raise UserError(f"not as published: {', '.join(bad)}; run `asd weights fetch {' '.join(bad)}`")
    return 0


def _place(card: WeightsCard) -> str:
    from asd.encoders.weights_cache import file_of

    return str(file_of(card))
