"""What outlives the program: the queue of events and how far each source was heard, in one file of a folder."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from asd.errors import UserError
from asd.utils.log import logger

Statement = tuple[str, tuple[Any, ...]]

_TABLES = (
    "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, event TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS delivered (sink TEXT PRIMARY KEY, number INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS places (source TEXT PRIMARY KEY, place TEXT NOT NULL)",
)


class State:
    """A small database that one process at a time uses, from any thread.

    What cannot be written, as to a full disk, is said once and is no error: listening goes on.

    Args:
        folder: Where it lies; made where it is not there. ``None``: in memory, and gone at the end.

    Attributes:
        folder: The same; ``None`` also where the disk is full from the start.

    Raises:
        UserError: Another process uses it, it cannot be opened, or it is something else.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._writes, self._lock = True, threading.Lock()
        self._guard: FileLock | None = None
        if folder is None:
            self._connection = _connected(":memory:")
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._guard = FileLock(folder / "watch.lock", thread_local=False)
            self._guard.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{folder} is in use by another `asd watch`; end it, or give each its own --state"
            ) from error
        except OSError as error:
            raise UserError(f"--state {folder}: {error.strerror or error}; choose another folder") from error
        try:
            self._connection = _connected(str(folder / "watch.sqlite"))
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                self._guard.release()
                raise UserError(f"--state {folder}: {error}; choose another folder") from error
            self._say_whether(False, error)
            self.folder, self._writes = None, True
            self._connection = _connected(":memory:")
        except sqlite3.DatabaseError as error:
            self._guard.release()
            raise UserError(f"{folder / 'watch.sqlite'}: {error}; move it away, what waited in it is lost") from error

    def rows(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a question gives."""
        with self._lock:
            return self._connection.execute(question, values).fetchall()

    def write(self, *statements: Statement) -> bool:
        """Carry out all statements or none; returns whether they are on the disk."""
        with self._lock:
            try:
                with self._connection:
                    for statement, values in statements:
                        self._connection.execute(statement, values)
            except sqlite3.Error as error:
                self._say_whether(False, error)
                return False
            self._say_whether(True)
            return True

    def place(self, source: str) -> Any:
        """How far a source was heard, as it was kept; ``None`` where nothing was."""
        found = self.rows("SELECT place FROM places WHERE source = ?", source)
        return json.loads(found[0][0]) if found else None

    def keep_place(self, source: str, place: Any) -> None:
        """Keep how far a source was heard, as plain values."""
        self.write(("INSERT OR REPLACE INTO places VALUES (?, ?)", (source, json.dumps(place))))

    def close(self) -> None:
        """Let others use it."""
        with self._lock:
            self._connection.close()
            if self._guard is not None:
                self._guard.release()

    def _say_whether(self, writes: bool, error: Exception | None = None) -> None:
        if writes != self._writes:
            what = "is written to again" if writes else f"cannot be written to ({error}); events wait in memory"
            logger.warning("asd: warning: %s %s", self.folder, what)
        self._writes = writes


def _connected(where: str) -> sqlite3.Connection:
    connection = sqlite3.connect(where, check_same_thread=False)
    with connection:
        for table in _TABLES:
            connection.execute(table)
    return connection


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
