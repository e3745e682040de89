"""The attribute files of a machine, ``attributes_00.csv``, in all their variants."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from asd.data.clip import Split
from asd.data.layouts.names import is_hidden, parse_name
from asd.errors import UserError
from asd.utils.sheet import read_sheet
from asd.utils.text import canonical, folded

PATTERN = "attributes_*.csv"
_COLUMN = re.compile(r"d([0-9]+)([pv])")
_AUDIO_SUFFIX = re.compile(r"\.(wav|flac)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """What an attribute file says of one clip.

    Attributes:
        file_name: As it stands in the file.
        split: The split that path or name tell; ``None``: neither does.
        attributes: Pairs joined as in file names, ``name_value_name_value``; empty where there are none.
        place: The file and line it was read from.
    """

    file_name: str
    split: Split | None
    attributes: str
    place: str


@dataclass(slots=True)
class AttributeTable:
    """The rows of a machine's attribute files by the stem of the clip's name.

    Attributes:
        rows: By `key` of the stem.
        files: How many attribute files there are.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    files: int = 0

    def attributes(self, stem: str) -> str:
        """Attribute string of the clip of that stem; empty where there is none."""
        row = self.rows.get(key(stem))
        return "" if row is None else row.attributes


def key(stem: str) -> str:
    """What a clip and its row have in common: stray underscores at the end, case and composition do not count."""
    return folded(stem.rstrip("_"))


def read_attributes(folder: Path) -> AttributeTable:
    """Read every attribute file in a machine's folder; without one the table is empty.

    Raises:
        UserError: Not text, a broken header or row, or two rows that say different things of one clip.
    """
    table = AttributeTable()
    for path in sorted(folder.glob(PATTERN)):
        try:
            _add(table, path, read_sheet(path))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error}); replace or remove it") from error
        table.files += 1
    return table


def _add(table: AttributeTable, path: Path, lines: list[tuple[str, list[str]]]) -> None:
    header = lines[0][1] if lines else []
    columns = _pairs(path, header)
    width = len(header)
    for place, fields in lines[1:]:
        if any(fields[width:]) or not fields[0]:
            raise UserError(f"{place}: no file name, or more fields than the {width} of the header; mend the line")
        row = _row([*fields, *[""] * (width - len(fields))], columns, place)
        name = key(_stem(row.file_name))
        first = table.rows.setdefault(name, row)
        if first.attributes != row.attributes:
            raise UserError(f"{place}: other attributes for {row.file_name} than in {first.place}; keep one of them")


def _pairs(path: Path, header: list[str]) -> list[tuple[int, int]]:
    names = [name.casefold() for name in header]
    if not names or names[0] != "file_name":
        shown = ",".join(header)[:60] or "nothing"
        raise UserError(f"{path}: the header must be file_name,d1p,d1v,d2p,d2v,... and is {shown!r}; mend the line")
    place = {(int(m[1]), m[2]): i for i, name in enumerate(names) if (m := _COLUMN.fullmatch(name))}
    numbers = sorted({number for number, _ in place})
    alone = [number for number in numbers if (number, "p") not in place or (number, "v") not in place]
    if alone:
        raise UserError(
            f"{path}: the header has only one of d{alone[0]}p (parameter) and d{alone[0]}v (value); mend the first line"
        )
    return [(place[number, "p"], place[number, "v"]) for number in numbers]


def _row(fields: list[str], columns: list[tuple[int, int]], place: str) -> Row:
    file_name = fields[0]
    pairs = [(canonical(fields[p]), canonical(fields[v])) for p, v in columns]
    joined = "_".join("_".join(filter(None, pair)) for pair in pairs if not is_hidden(pair[0]))
    return Row(file_name, _split(file_name), joined, place)


def _stem(file_name: str) -> str:
    return _AUDIO_SUFFIX.sub("", PurePosixPath(file_name.replace("\\", "/")).name)


def _split(file_name: str) -> Split | None:
    folders = PurePosixPath(file_name.replace("\\", "/")).parts[:-1]
    for part in map(str.casefold, reversed(folders)):
        if part in (*Split, "source_test", "target_test"):
            return Split.TEST if part.endswith("_test") else Split(part)
    parsed = parse_name(_stem(file_name), supplemental=True)
    # Only test names leave the split out.
    return None if parsed is None else parsed.split or Split.TEST
