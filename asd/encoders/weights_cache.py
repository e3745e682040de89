"""The cache folder that published weights are fetched into."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from asd.encoders.base import Encoder
from asd.encoders.weights_card import State, WeightsCard
from asd.errors import UserError
from asd.plugins import known as known_classes
from asd.plugins import load_all
from asd.utils.download import Report, download, file_checksum

CACHE_VARIABLE = "ASD_CACHE"
_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors"}


def cache_folder() -> Path:
    """Where fetched weights are kept: the folder ``weights`` in ``ASD_CACHE``, or else in ``~/.cache/asd``."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "asd") / "weights"


def cards() -> dict[str, WeightsCard]:
    """The cards of every encoder that can be found, by name."""
    classes = known_classes(Encoder).values()  # type: ignore[type-abstract]
    return {card.name: card for cls in classes for card in cls.cards}


def find_card(name: str) -> WeightsCard:
    """The card of that name.

    Raises:
        UserError: There is none; lists what there is, and the nearest name.
    """
    known = cards()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    failed = "".join(f" Failed to load: {one}: {type(error).__name__}: {error}." for one, error in load_all().items())
    names = ", ".join(sorted(known)) or "none"
    raise UserError(f"no published weights are called {name!r}.{guess} Known: {names}.{failed}".replace("\n", " "))


def file_of(card: WeightsCard) -> Path:
    """Where the weights file is, or would be, in the cache folder."""
    return cache_folder() / card.name / card.file if card.beside else cache_folder() / card.file


def find(name_or_path: str | Path) -> Path:
    """The weights at a path, or those of a card in the cache folder: a file, or a folder where a file is not enough.

    Raises:
        UserError: Neither is there; names the file, its size and checksum, and where to put it.
    """
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    if path.name != str(name_or_path) or path.suffix in _SUFFIXES:
        fetchable = next((card.name for card in cards().values() if card.file == path.name), None)
        remedy = (
            f"`asd weights fetch {fetchable}` gets it" if fetchable else "`asd weights list` shows what can be fetched"
        )
        raise UserError(f"weights {name_or_path}: no such file; {remedy}")
    card = find_card(str(name_or_path))
    file = file_of(card)
    remedy = f"`asd weights fetch {card.name}`"
    missing = [one for one in (card.file, *card.beside) if not (file.parent / one).is_file()]
    if missing:
        how = "get it" if card.url is None else f"run {remedy}, or get it on another machine"
        raise UserError(
            f"weights {card.name}: {' and '.join(missing)} not in {file.parent} ({card.file}: {card.facts}); {how} "
            f"from {card.source} and put it there"
        )
    if card.size is not None and file.stat().st_size != card.size:
        raise UserError(f"weights {file} has {file.stat().st_size:,} bytes, expected {card.size:,}; run {remedy}")
    return file.parent if card.beside else file


def fetch(card: WeightsCard, report: Report | None = None) -> Path:
    """Download what a card describes into the cache folder, unless it is there; returns the file.

    Raises:
        UserError: As `asd.utils.download.download`; or the authors offer no address to download from.
    """
    file = file_of(card)
    if card.url is None:
        if check(card) in (State.RIGHT, State.UNKNOWN):
            return file
        raise UserError(
            f"{card.name}: the authors publish no direct address for {card.file} ({card.facts}); get "
            f"{' and '.join((card.file, *card.beside))} from {card.source} and put it at {file}"
        )
    for name in card.beside:
        if not (file.parent / name).is_file():
            download(f"{card.source}{name}", file.parent / name)
    if check(card) not in (State.RIGHT, State.UNKNOWN):
        download(card.url, file, size=card.size, checksum=card.checksum, report=report)
    return file


def check(card: WeightsCard) -> State:
    """Whether the file in the cache folder is the one that the card describes."""
    file = file_of(card)
    if not all((file.parent / name).is_file() for name in (card.file, *card.beside)):
        return State.MISSING
    if card.size is not None and file.stat().st_size != card.size:
        return State.WRONG_SIZE
    if card.checksum is None:
        return State.UNKNOWN
    found = file_checksum(file, card.checksum.partition(":")[0])
    return State.RIGHT if found == card.checksum else State.WRONG_CHECKSUM
