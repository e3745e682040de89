"""What threads find while what was found before is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

_BATCHES = 2
_LOOK = 0.1
"""Seconds after which a thread looks whether it is still wanted."""


def offer(queue: Queue[T], one: T, unwanted: threading.Event) -> bool:
    """Put it once there is room; whether it is still wanted."""
    while not unwanted.is_set():
        try:
            queue.put(one, timeout=_LOOK)
        except Full:
            continue
        return True
    return False


def read_ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same, one after the other; a thread takes the next two.

    Errors are raised where the batch would have been.
    """
    found: Queue[tuple[bool, T | Exception | None]] = Queue(_BATCHES)
    unwanted = threading.Event()

    def read() -> None:
        try:
            if all(offer(found, (True, batch), unwanted) for batch in batches):
                offer(found, (False, None), unwanted)
        except Exception as error:  # noqa: BLE001 - raised where it is read
            offer(found, (False, error), unwanted)

    # One that waits for a share that is away must not keep the program from its end.
    threading.Thread(target=read, name="asd-read", daemon=True).start()
    try:
        while (one := found.get())[0]:
            yield one[1]  # type: ignore[misc]  # a batch, as the first says
        if isinstance(one[1], Exception):
            raise one[1]
    finally:
        unwanted.set()
