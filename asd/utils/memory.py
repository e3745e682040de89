"""What the C library does with memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX of malloc.h."""


def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory, for all threads together; call it before there are others.

    A forward pass asks for the same large blocks as the one before. To give them back and to ask again costs page
    faults, of which those of a batch take longer than the batch saves.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_ARENA_MAX, 1)  # those of threads are too small for such blocks, and are given back
