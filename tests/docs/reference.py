"""What the tests of the reference share: its pages, their tables of keys, and what they show of files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.md"))}
EXAMPLES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((REFERENCE / "commands").glob("*.md"))}
_FENCED = re.compile(r"(?:<!-- read by: (.+?) -->\n)?```(\w+)\n(.*?\n)```", re.S)
SHOWN = [found for page in PAGES.values() for found in _FENCED.findall(page)]
"""Who reads what is shown, its language, and the text."""
_TABLES = dict(
    found for page in PAGES.values() for found in re.findall(r"<!-- keys: (.+?) -->\n(.*?\n)(?:\n|\Z)", page, re.S)
)


def first_column(table: str) -> list[str]:
    """All that stands as code in the first cells."""
    return [key for row in re.findall(r"^\| (`.*?) \|", table, re.M) for key in re.findall(r"`([^`]+)`", row)]


def keys(name: str) -> list[str]:
    """The keys of the table of that name."""
    return first_column(_TABLES[name])


def block(name: str) -> str:
    """What is shown of the files of a reader."""
    (found,) = [text for reader, _, text in SHOWN if reader == name]
    return str(found)


def agree(patterns: Iterable[str], found: Any, where: str = "") -> None:
    """Insist that keys with dots are those of a mapping, as deep as they go; a star stands for names of any kind."""
    tree: dict[str, list[str]] = {}
    for first, _, rest in (one.partition(".") for one in patterns):
        tree.setdefault(first, []).extend([rest] if rest else [])
    if "*" in tree:
        below = list(found.values()) if isinstance(found, dict) else found
        assert below, f"{where} is empty"
        for one in below:
            agree(tree["*"], one, f"{where}.*")
    elif tree:
        assert set(found) == set(tree), where
        for key, rest in tree.items():
            agree(rest, found[key], f"{where}.{key}")
