"""Published weights: what is known of a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """What is known of a published weights file. ``None`` says that the fact is not known: nobody published it.

    Attributes:
        name: What `weights` is set to, to find the file in the cache folder.
        file: File name.
        licence: SPDX identifier of the weights.
        paper: arXiv identifier or DOI.
        url: Where the authors keep it.
        size: Bytes.
        sha256: Checksum in hexadecimal.
        beside: Names of small files that belong beside it, at the same place; they make the weights a folder.
        md5: Checksum in hexadecimal, where no other is published.
        page: Where a person gets what no program can fetch: an address, and what else there is to say.
    """

    name: str
    file: str
    licence: str
    paper: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    beside: tuple[str, ...] = ()
    md5: str | None = None
    page: str | None = None

    @property
    def checksum(self) -> str | None:
        """``algorithm:hexadecimal``."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return next((f"{kind}:{value}" for kind, value in known.items() if value is not None), None)

    @property
    def source(self) -> str:
        """Where to get it, in words."""
        if self.url is not None:
            return f"{self.url.rpartition('/')[0]}/"
        return self.page or f"the project page of {self.paper}"

    @property
    def facts(self) -> str:
        """Size and checksum in words."""
        size = "size not published" if self.size is None else f"{self.size:,} bytes"
        return f"{size}, {'checksum not published' if self.checksum is None else self.checksum.replace(':', ' ')}"


class State(StrEnum):
    """What a look at a file in the cache folder tells."""

    MISSING = "missing"
    RIGHT = "right"
    UNKNOWN = "there; no checksum is published to verify it by"
    WRONG_SIZE = "wrong size"
    WRONG_CHECKSUM = "wrong checksum"
