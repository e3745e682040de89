"""A file read as if it began otherwise."""

from __future__ import annotations

import io
from typing import Any, BinaryIO


class Spliced(io.RawIOBase):
    """`head`, then the bytes of `file` from `begin` to `end`; the file is closed with it."""

    def __init__(self, head: bytes, file: BinaryIO, begin: int, end: int) -> None:
        self.head, self.file, self.begin = head, file, begin
        self.size = len(head) + max(0, end - begin)
        self.at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The next byte that is read."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see `io.IOBase.seek`."""
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there is something; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self.size - self.at))
        part = self.head[self.at : self.at + wanted]
        view[: len(part)] = part
        if len(part) < wanted:
            self.file.seek(self.begin + max(0, self.at - len(self.head)))
            rest = self.file.read(wanted - len(part))
            view[len(part) : len(part) + len(rest)] = rest
            part += rest
        self.at += len(part)
        return len(part)

    def close(self) -> None:
        """Close the file as well."""
        self.file.close()
        super().close()
