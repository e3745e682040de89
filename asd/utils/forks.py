"""Tasks of one process that copies of it share, each with a thread: many small steps that Python holds up."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeAlias, TypeVar

from asd.errors import UserError

T = TypeVar("T")
_Heard: TypeAlias = tuple[T, list[tuple[Warning | str, type[Warning], str, int]]]
"""What a task gave, and its warnings with where they are from."""

_task: Callable[[int], Any]
"""What a copy does; it has it from the process that it was copied from, so that nothing is sent to it."""


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def each(task: Callable[[int], T], count: int, processes: int) -> Iterator[T]:
    """``task(0), ..., task(count - 1)`` in that order; what they all warn of is told once.

    Args:
        task: May read whatever this process holds; what it changes stays in the copy. What it returns or raises is
            sent back.
        count: Of the tasks.
        processes: At most so many at a time. One, where copies of a process are not safe: everywhere but on Linux.

    Raises:
        UserError: A copy ended before its time.
    """
    processes = min(processes, count) if sys.platform == "linux" else 1
    if processes <= 1:
        yield from _told(_heard(task, number) for number in range(count))
        return
    pool = ProcessPoolExecutor(processes, get_context("fork"), _begin, (task,))
    try:
        with warnings.catch_warnings():
            # Python warns of copies of a process with threads. Those here wait, and the copies start none.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            found = pool.map(_do, range(count))
        yield from _told(found)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {processes} processes ended before its time, as where memory runs out; give --processes 1"
        ) from error
    except BaseException:
        # Nobody waits for what the copies still do, which may take minutes; the pool itself would.
        for copy in list(pool._processes.values()):
            copy.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(task: Callable[[int], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that was copied ends its copies
    # Libraries that the copy loads read these; those that are loaded already have read them.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    import torch
    from threadpoolctl import threadpool_limits

    global _task
    _task = task
    torch.set_num_threads(1)
    threadpool_limits(1)


def _do(number: int) -> _Heard[Any]:
    return _heard(_task, number)


def _heard(task: Callable[[int], T], number: int) -> _Heard[T]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = task(number)
    return result, [(one.message, one.category, one.filename, one.lineno) for one in said]


def _told(found: Iterable[_Heard[T]]) -> Iterator[T]:
    told = set()
    for result, said in found:
        for message, category, name, line in said:
            # Python's own memory of what it told is emptied by every `catch_warnings`.
            if (key := (str(message), category, name, line)) not in told:
                told.add(key)
                warnings.warn_explicit(message, category, name, line)
        yield result
