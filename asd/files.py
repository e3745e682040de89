"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_LONGEST = 200
"""Characters of a name that leave room for what is put around it."""


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; what cannot be encoded is escaped.

    Raises:
        OSError: It cannot be written; a file that was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
        aside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def is_plain(name: str) -> bool:
    """Whether a name from outside can be part of a file's name: nothing in it leads elsewhere."""
    return bool(name.strip(". ")) and len(name) <= _LONGEST and not any(one in "/\\\x7f" or one < " " for one in name)
