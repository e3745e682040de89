"""Files and folders that are there whole or not at all, and names that come from outside."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_LONGEST = 200
"""Characters of a name that leave room for what is put around it."""

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40]
_LEFTOVER = re.compile(r"\..*\.(?P<host>[A-Za-z0-9-]*)\.(?P<process>\d+)(\.old)?\.part", re.DOTALL)
_DAY = 86400.0


@contextlib.contextmanager
def aside(path: Path, clear: bool = True) -> Iterator[Path]:
    """Gives a place beside `path` for a file or a folder on its way; what lies there at the end is removed.

    Args:
        path: What is to be written; the folders above it are made.
        clear: Remove what processes that were killed left beside it. Where very many files are written into a folder,
            call `clear_leftovers` once instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if clear:
        clear_leftovers(path.parent, path.name)
    place = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.part")
    try:
        yield place
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which file was written
        raise
    finally:
        with contextlib.suppress(OSError):
            _remove(place)


@contextlib.contextmanager
def written(path: Path, clear: bool = True) -> Iterator[Path]:
    """As `aside`; what was written there takes the place of `path` when all went well."""
    with aside(path, clear) as place:
        yield place
        put(place, path)


def put(place: Path, path: Path) -> None:
    """Put a file or a folder in the place of `path`, in one step where it is a file or nothing was there."""
    try:
        place.replace(path)
    except OSError:
        if not (path.is_dir() and place.is_dir()):
            raise
        old = place.with_suffix(".old.part")
        path.rename(old)
        place.rename(path)
        _remove(old)


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Remove what processes of this machine that are gone left in `folder`, of all that was written or of `name`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _LEFTOVER.fullmatch(entry.name) if entry.name.startswith(f".{name}") else None
            if found and found["host"] == _HOST and not _lives(int(found["process"]), Path(entry.path)):
                with contextlib.suppress(OSError):
                    _remove(Path(entry.path))


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; what cannot be encoded is escaped.

    Raises:
        OSError: It cannot be written; a file that was there stays.
    """
    with written(path) as place:
        place.write_text(text, encoding="utf-8", errors="backslashreplace")


def is_plain(name: str) -> bool:
    """Whether a name from outside can be part of a file's name: nothing in it leads elsewhere."""
    return bool(name.strip(". ")) and len(name) <= _LONGEST and not any(one in "/\\\x7f" or one < " " for one in name)


def _lives(process: int, leftover: Path) -> bool:
    if os.name == "nt":  # there a signal of 0 would end the process
        return time.time() - leftover.stat().st_mtime < _DAY
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
