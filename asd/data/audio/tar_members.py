"""Files inside tar archives, read in place: on this machine, or wherever fsspec reaches (HTTP, S3, ...)."""

from __future__ import annotations

import os
from typing import Any

from asd.data.clip import Member


def read_member(member: Member) -> bytes:
    """The bytes of one file in an archive; safe in threads and in forked workers.

    Raises:
        OSError: The archive cannot be read, or ends before the member does.
    """
    held = read_range(member.archive, member.offset, member.size)
    if len(held) != member.size:
        raise OSError(f"the archive ends {member.size - len(held)} bytes early; copy it again")
    return held


def read_range(place: str, offset: int, size: int) -> bytes:
    """Bytes of a file by path or URL; fewer where it ends before.

    Raises:
        OSError: It cannot be read.
    """
    if is_remote(place):
        return _fetch(place, offset, size)
    # Opened anew each time: far cheaper than decoding, and no position is shared with threads and forked workers.
    descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # which Windows alone has, and needs
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        # No more than is there: memory is taken for all that is asked for.
        return os.read(descriptor, min(size, max(0, os.fstat(descriptor).st_size - offset)))
    finally:
        os.close(descriptor)


def is_remote(place: str) -> bool:
    """Whether a place is a URL rather than a path."""
    return "://" in place


def _fetch(url: str, offset: int, size: int) -> bytes:
    import fsspec

    # Asked for each time: fsspec keeps one file system for each process and thread.
    files: Any
    files, path = fsspec.core.url_to_fs(url)
    held: bytes = files.cat_file(path, start=offset, end=offset + size)
    return held
