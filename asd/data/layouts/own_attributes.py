"""The table of attributes of one machine's own recordings: ``file_name``, then a column for each attribute."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asd.data.clip import Domain
from asd.errors import UserError
from asd.utils.sheet import read_sheet
from asd.utils.text import canonical, folded

_FILE_NAME = "file_name"
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")


@dataclass(frozen=True)
class Facts:
    """What the table says of a recording.

    Attributes:
        attributes: Pairs joined as in the challenge's file names; empty where there are none.
        domain: ``None``: not said.
    """

    attributes: str = ""
    domain: Domain | None = None


def read_facts(path: Path, folder: Path, recordings: Iterable[Path]) -> tuple[dict[Path, Facts], list[str]]:
    """What a table says of each recording, and what is wrong with it, one line each.

    A file goes by its name, with the folders it lies in or without, as long as that means a single one; if there is no
    file of just that name, case, composition of letters and a missing suffix do not count.

    Args:
        path: The table; without one there are no facts.
        folder: The machine's folder.
        recordings: The recordings in it.
    """
    try:
        rows = list(_rows(path)) if path.is_file() else []
    except UserError as error:
        return {}, [str(error)]
    except OSError as error:
        return {}, [f"{path} cannot be read ({error.strerror or error}); mend or remove it"]
    finder = _Finder(folder, recordings)
    facts: dict[Path, Facts] = {}
    unknown: list[str] = []
    faults: list[str] = []
    for place, name, fact in rows:
        found = finder.find(name)
        if not found:
            unknown.append(name)
        elif len(found) > 1:
            both = " and ".join(one.relative_to(folder).as_posix() for one in found[:2])
            faults.append(f"{place}: {name} may be {both}; write the folders and the name as they are")
        elif facts.setdefault(found[0], fact) != fact:
            faults.append(f"{place}: {name} is there twice with different attributes; keep one line")
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        faults.append(f"{path}: no file {unknown[0]}{more} in {folder}; mend the names")
    return facts, faults


class _Finder:
    """Finds the recording that a name in a table means."""

    def __init__(self, folder: Path, recordings: Iterable[Path]) -> None:
        self.machine = folded(folder.absolute().name)
        self.levels: list[defaultdict[str, list[Path]]] = [defaultdict(list) for _ in range(6)]
        for path in recordings:
            relative = path.relative_to(folder)
            names = (relative.as_posix(), relative.name, relative.stem)
            for level, name in enumerate((*names, *names)):
                self.levels[level][_spelled(name, level)].append(path)

    def find(self, name: str) -> list[Path]:
        """The recordings that it may mean, those that are spelled most alike."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        machines = [number for number, part in enumerate(parts[:-1]) if folded(part) == self.machine]
        tails = ["/".join(parts), *("/".join(parts[number + 1 :]) for number in machines)]
        if _ABSOLUTE.match(name):
            tails.append(parts[-1] if parts else name)
        for tail in tails:
            for level, known in enumerate(self.levels):
                if found := known.get(_spelled(tail, level)):
                    return found
        return []


def _spelled(name: str, level: int) -> str:
    return canonical(name) if level < 3 else folded(name)


def _rows(path: Path) -> Iterator[tuple[str, str, Facts]]:
    """Place, file name and facts of each row.

    Raises:
        UserError: A broken table.
    """
    rows = read_sheet(path)
    header = [canonical(name) for name in rows[0][1]] if rows else []
    names = [folded(name).replace(" ", "_") for name in header]
    if _FILE_NAME not in names:
        raise UserError(f"{path}: the first line must be file_name, then the names of attributes; mend it")
    doubled = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: two columns are called {doubled[0]}; rename one")
    for place, cells in rows[1:]:
        if len(cells) < len(header):
            raise UserError(f"{place}: {len(cells)} fields, the first line has {len(header)}; mend it")
        if any(cells[len(header) :]) or any(cell for name, cell in zip(names, cells, strict=False) if not name):
            raise UserError(f"{place}: a value lies in a column without a name; give the column one")
        pairs = {name: (own, canonical(cell)) for name, own, cell in zip(names, header, cells, strict=False) if name}
        file_name = pairs.pop(_FILE_NAME)[1]
        if not file_name:
            raise UserError(f"{place}: no file name; write it or remove the line")
        joined = "_".join(f"{own}_{value}" for name, (own, value) in pairs.items() if value and name != "domain")
        yield place, file_name, Facts(joined, _domain(place, pairs.get("domain", ("", ""))[1]))


def _domain(place: str, said: str) -> Domain | None:
    if not said:
        return None
    try:
        return Domain(said.casefold())
    except ValueError:
        raise UserError(f"{place}: domain is {said!r}; give source or target") from None
