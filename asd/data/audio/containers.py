"""The one place that compares what a file promises with what it holds, by its first bytes, before it is decoded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from asd.data.audio import framed
from asd.data.audio.chunked import CHUNKED
from asd.data.audio.promise import Promise

MOST_PER_BYTE = 8192
"""Samples of a channel that a byte can stand for: silence in the longest blocks of a codec needs a little more."""

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")  # m4a, mp4, mov, 3gp, after four bytes of length
_FOREIGN = (
    b"\x1a\x45\xdf\xa3",  # webm, mkv, mka
    b"\x30\x26\xb2\x75",  # wma
    b"#!AMR",
    *(b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"),  # aac
)
_OTHER_CODECS = (b"OggS", b"caff")  # libsndfile reads some of the codecs that may be in them
_LONGEST_HEAD = 64
_MOST_TAGS = 16


def examine(file: BinaryIO) -> Promise:
    """Compare what a file says of itself with its bytes."""
    base, head = _begin(file)
    size = file.seek(0, 2)
    if _is_plain_wav(head, size):
        return Promise(size=size)
    look = _look(head)
    found = look(file, base, size) if look else Promise()
    foreign = is_foreign(head)
    return replace(found, size=size, foreign=foreign, may_be_foreign=foreign or head[:4] in _OTHER_CODECS)


def _is_plain_wav(head: bytes, size: int) -> bool:
    """Whether a file is what nearly all are, which needs no second look."""
    return (
        head[:4] == b"RIFF"
        and head[8:20] == b"WAVEfmt \x10\0\0\0"
        and head[36:40] == b"data"
        and int.from_bytes(head[40:44], "little") == size - 44 > 0
    )


def is_foreign(head: bytes) -> bool:
    """Whether a file begins as those that libsndfile does not read and ffmpeg does.

    Nothing else goes to ffmpeg, whatever its name: it would follow the addresses in a playlist.
    """
    return head[4:8] in _BOXES or head.startswith(_FOREIGN)


def _look(head: bytes) -> Callable[[BinaryIO, int, int], Promise] | None:
    if framed.is_mpeg(head):
        return framed.mpeg
    return {b"OggS": framed.ogg, b"fLaC": framed.flac, **CHUNKED}.get(head[:4])


def _begin(file: BinaryIO) -> tuple[int, bytes]:
    """Where a file begins after tags, and its first bytes."""
    file.seek(0)
    base, head = 0, file.read(_LONGEST_HEAD)
    for _ in range(_MOST_TAGS):
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = functools.reduce(lambda sum_, byte: sum_ << 7 | byte & 0x7F, head[6:10], 0)
        base += 10 + length + 10 * (head[5] >> 4 & 1)
        file.seek(base)
        head = file.read(_LONGEST_HEAD)
    return base, head
