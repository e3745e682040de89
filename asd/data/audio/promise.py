"""What a file promises and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Promise:
    """What was found when a file's own words were compared with its bytes.

    Attributes:
        fault: Why it cannot be used; empty: nothing is missing.
        remark: What is worth knowing.
        end: Where its sound ends, where the header does not say so; 0: it does.
        head: What a decoder should see in the place of the bytes before `begin`; empty: the file as it is.
        begin: The first byte after it.
        size: Bytes of the file.
        foreign: ffmpeg decodes it.
        may_be_foreign: It does where libsndfile does not.
        no_length_at: Where a FLAC file has its length, which is not set; 0: it is set.
    """

    fault: str = ""
    remark: str = ""
    end: int = 0
    head: bytes = b""
    begin: int = 0
    size: int = 0
    foreign: bool = False
    may_be_foreign: bool = False
    no_length_at: int = 0

    @classmethod
    def cut(cls, held: int, promised: int) -> Self:
        """Of a file that ends too early."""
        return cls(f"cut short, {max(0, held)} of {promised} bytes of sound are there; copy the file again")

    def seen_as(self, head: bytes, begin: int, end: int) -> Self:
        """The same, read with another beginning."""
        return replace(self, head=head, begin=begin, end=end)
