"""Tables of text from outside, as spreadsheets write them."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from asd.errors import UserError

_BEGINNING = 1 << 16
_SEPARATORS = (",", ";", "\t")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SAID = re.compile(r"sep=(.)\r?\n")
_WANTED = "text of comma-separated values in UTF-8"
_REMEDY = "save it as 'CSV UTF-8 (comma delimited)'"


def read_sheet(path: Path) -> list[tuple[str, list[str]]]:
    """The filled rows of a CSV file, each with where it stands; cells are stripped.

    The separator is the comma, semicolon or tab that the first line with any of them holds most of. A byte order mark
    and the line ``sep=;`` are understood.

    Raises:
        UserError: No UTF-8, or no such table.
        OSError: It cannot be read.
    """
    text = _decoded(path, path.read_bytes())
    said = _SAID.match(text)
    lines = _QUOTED.sub("", text[:_BEGINNING]).splitlines()
    first = next((line for line in lines if any(one in line for one in _SEPARATORS)), "")
    separator = said[1] if said else max(_SEPARATORS, key=first.count)
    # Said lines are blanked, not cut off, so that the numbers of the others stay right.
    reader = csv.reader(io.StringIO("\n" + text[said.end() :] if said else text, newline=""), delimiter=separator)
    try:
        rows = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UserError(f"{path} is not {_WANTED} ({error}); {_REMEDY}") from error
    return [row for row in rows if any(row[1])]


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise UserError(f"{path} is not {_WANTED} (zero bytes, as in UTF-16); {_REMEDY}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} in line {line}"
        raise UserError(f"{path} is not {_WANTED} ({found}); {_REMEDY}") from error
