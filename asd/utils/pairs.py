"""Files of ``name,value`` lines without header, which the challenge exchanges scores, decisions and labels in."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from asd.errors import UserError
from asd.utils.files import replace_text
from asd.utils.sheet import read_sheet

T = TypeVar("T")
# Folders as Windows writes them, but not what is escaped in the titles of clips.
_FOLDERS = re.compile(r"\\(?!x(?:5c|[89a-f][0-9a-f]))")
_SEPARATES = re.compile(r"[\r;\t]")
_DECIMAL_COMMA = re.compile(r"\.\w+[;\t]-?\d+$")


def read_pairs(path: Path, parse: Callable[[str], T]) -> dict[str, T]:
    """Values by clip name; folders in a name are dropped.

    Args:
        path: The file.
        parse: Turns the text of a value into the value; raises `ValueError` with what it should have been.

    Raises:
        UserError: Empty or no text, a line that is no ``name,value``, a value refused, or a name twice.
    """
    pairs: dict[str, T] = {}
    for where, fields in read_sheet(path):
        if len(fields) != 2 or not fields[0]:
            raise UserError(f"{where}: expected `name,value`, got {','.join(fields)!r}")
        name = PurePosixPath(_FOLDERS.sub("/", fields[0])).name
        if _DECIMAL_COMMA.search(name):
            raise UserError(f"{where}: the value has a decimal comma; write it with a point")
        if name in pairs:
            raise UserError(f"{where}: {name} is doubled; keep one line per clip")
        try:
            pairs[name] = parse(fields[1])
        except ValueError as error:
            raise UserError(f"{where}: {fields[1]!r} is not {error}; lines are `name,value`, no header") from error
    if not pairs:
        raise UserError(f"{path} is empty; it needs a line `name,value` for every test clip")
    return pairs


def write_pairs(path: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    """Write the lines, whole or not at all."""
    text = io.StringIO()
    for pair in pairs:
        # Others' separators and ends of lines are not quoted for being that.
        whole = _SEPARATES.search(pair[0]) is not None
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if whole else csv.QUOTE_MINIMAL).writerow(pair)
    replace_text(path, text.getvalue())
    return path


def finite(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def decision(text: str) -> int:
    """A decision, 0 or 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value not in (0, 1):
        raise ValueError("a decision, 0 or 1")
    return int(value)


def first_few(names: Sequence[str], shown: int = 3) -> str:
    """How many clips there are, and the names of the first."""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} clip{'' if len(names) == 1 else 's'} ({', '.join(names[:shown])}{more})"


def check_names(names: Sequence[str], where: str) -> None:
    """Raise `UserError` where a name is there twice."""
    doubled = sorted(name for name, times in Counter(names).items() if times > 1)
    if doubled:
        raise UserError(f"{where}: {first_few(doubled)} doubled; keep one line per clip")
