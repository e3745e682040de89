"""Cards of published weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """What is known of a published weights file. ``None`` says that nobody published the fact.

    Attributes:
        name: What `checkpoint` is set to, to find the file in the cache folder.
        file: File name.
        licence: SPDX identifier of the weights.
        paper: arXiv identifier or DOI.
        url: Where the authors keep it.
        size: Bytes.
        sha256: Checksum in hexadecimal.
    """

    name: str
    file: str
    licence: str
    paper: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
