"""Work that several processes share, also those of several programs: each part under a lock, in a process of its own.

A process of its own tells how much memory a part took, and where it ends before its time, the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_PATIENCE_SECONDS = 0.5
_PRELOADED = ["asd.training.callbacks", "asd.comparison.embedding", "asd.comparison.scoring"]


@dataclass(frozen=True)
class Part:
    """A part of the work.

    Attributes:
        name: What it is called.
        doing: What is said when it is begun, and where it fails.
        folder: Where it writes; locked while someone is at it.
        done: Whether it is done, by whomever.
        work: Does it; a function of a module, which another process can import.
        given: What `work` is given first; the second is the number of the process among those at work, from 0.
    """

    name: str
    doing: str
    folder: Path
    done: Callable[[], bool]
    work: Callable[[Any, int], None]
    given: Any


@dataclass(frozen=True)
class Telling:
    """What is said of the work.

    Attributes:
        say: Told a line about a part.
        explain: An exception in one line; a function of a module.
        log: Name of the file in a part's folder that gets what it prints; ``None``: that goes where all else goes.
    """

    say: Callable[[str], None]
    explain: Callable[[BaseException], str]
    log: str | None = "log.txt"


@dataclass(frozen=True)
class _Running:
    part: Part
    lock: FileLock
    process: BaseProcess
    failure: Connection
    place: int


def warm_up() -> None:
    """Have what each process needs imported meanwhile."""
    if _context().get_start_method() == "forkserver":
        forkserver.ensure_running()


def _context() -> BaseContext:
    """Processes that are copies of one that has imported what is heavy and computed nothing, where there can be any."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def share(parts: Sequence[Part], processes: int, telling: Telling) -> dict[str, str]:
    """Do what is not done yet.

    Args:
        parts: The parts, in whose order they are begun. What another program is at is waited for.
        processes: How many are done at a time.
        telling: What is said of it.

    Returns:
        Why a part failed, by its name; what is in it is done.

    Raises:
        OSError: A folder cannot be written.
    """
    started, waiting = _context(), list(parts)
    running: list[_Running] = []
    failed: dict[str, str] = {}
    elsewhere: set[str] = set()
    try:
        while waiting or running:
            for part in list(waiting):
                if len(running) == processes:
                    break
                lock = _locked(part)
                if lock is None:
                    if part.name not in elsewhere:
                        telling.say(f"{part.doing}: another program is at it")
                    elsewhere.add(part.name)
                    continue
                waiting.remove(part)
                if part.done():
                    lock.release()
                else:
                    place = min({*range(processes)} - {one.place for one in running})
                    telling.say(part.doing)
                    running.append(_begun(started, part, lock, place, telling))
            for one in _ended(running, bool(waiting) and len(running) < processes):
                running.remove(one)
                reason = _failure(one)
                one.lock.release()
                if reason is not None:
                    failed[one.part.name] = reason
                    telling.say(f"{one.part.doing} failed: {reason}")
    finally:
        for one in running:
            one.process.kill()
            one.process.join()
            one.lock.release()
    return failed


def _locked(part: Part) -> FileLock | None:
    """The lock of a part; ``None``: someone else has it. It ends with the process that holds it."""
    part.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(part.folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _begun(started: BaseContext, part: Part, lock: FileLock, place: int, telling: Telling) -> _Running:
    failure, sender = multiprocessing.Pipe(duplex=False)
    log = None if telling.log is None else part.folder / telling.log
    arguments = (part.work, part.given, place, dict(os.environ), log, telling.explain, sender)
    process = started.Process(target=_work, args=arguments)  # type: ignore[attr-defined]
    process.start()
    sender.close()
    return _Running(part, lock, process, failure, place)


def _ended(running: Sequence[_Running], looking: bool) -> list[_Running]:
    """Those that have ended, once there are any; or, where more could be begun, after a while."""
    if not running:
        time.sleep(_PATIENCE_SECONDS if looking else 0)
        return []
    ended = wait([one.process.sentinel for one in running], _PATIENCE_SECONDS if looking else None)
    return [one for one in running if one.process.sentinel in ended]


def _failure(one: _Running) -> str | None:
    one.process.join()
    code = one.process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", as systems do where memory is used up: lower the batch size" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    with suppress(EOFError):
        return str(one.failure.recv())
    return None if one.part.done() else f"its process ended with code {code}"


def _work(
    work: Callable[[Any, int], None],
    given: Any,
    place: int,
    environment: Mapping[str, str],
    log: Path | None,
    explain: Callable[[BaseException], str],
    sender: Connection,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if log is not None:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    try:
        work(given, place)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the others go on
        sender.send(explain(error))


def _end_with_parent() -> None:
    """A lock ends with the process that began this one; so must what is done under it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
