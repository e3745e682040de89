"""Formats made of frames or pages: MP3, OGG, FLAC. Whether the last one is whole, and how long the sound is."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from asd.data.audio.promise import Promise

_BLOCK = 1 << 20
_PAGE = 1 << 16  # no page of an OGG file is longer
_METADATA = 100  # blocks that are looked through
_RATES = (44100, 48000, 32000)
_KBITS = {  # by version 1 or not, and layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_TAGS = ((b"TAG", 128), (b"APETAGEX", 32), (b"3DI", 10))  # at the end, and the length of what marks them


def ogg(file: BinaryIO, base: int, size: int) -> Promise:
    """Whether an OGG file holds its last page, which says that it is the last."""
    first = max(base, size - 2 * _PAGE)
    file.seek(first)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at >= 0 and len(tail) >= at + 27:
        segments = tail[at + 27 : at + 27 + tail[at + 26]]
        whole = len(segments) == tail[at + 26] and at + 27 + len(segments) + sum(segments) <= len(tail)
        if whole and tail[at + 5] & 4:
            return Promise()
    return Promise("cut short, its last page is not there; copy the file again")


def flac(file: BinaryIO, base: int, size: int) -> Promise:
    """Where a FLAC file has its length in 36 bits, if the encoder did not know it; or that it says far too little."""
    file.seek(base)
    head = file.read(26)
    if len(head) < 26 or head[4] & 0x7F:
        return Promise()
    told = int.from_bytes(head[18:])
    frames, bits, channels = told % (1 << 36), (told >> 36 & 31) + 1, (told >> 41 & 7) + 1
    if frames == 0:
        return Promise(no_length_at=base + 18)
    plain = frames * channels * bits // 8
    most = 1.1 * plain + 4096  # what these samples take where nothing is compressed
    if size > most and (held := _before_tags(file, size) - _after_metadata(file, base, size)) > most:
        return Promise(remark=f"its header tells of {plain} bytes of sound at most, and {held} are there, left unread")
    return Promise()


def _after_metadata(file: BinaryIO, base: int, size: int) -> int:
    """Where the sound of a FLAC file begins; its end, where that is not found soon."""
    at = base + 4
    for _ in range(_METADATA):
        file.seek(at)
        block = file.read(4)
        at += 4 + int.from_bytes(block[1:])
        if len(block) < 4 or at >= size:
            break
        if block[0] & 0x80:
            return at
    return size


def with_length(file: BinaryIO, place: int, frames: int) -> Promise:
    """The same with so many samples."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(place + 8)
    return Promise(size=size).seen_as(
        head[:place] + (int.from_bytes(head[place:]) + frames).to_bytes(8), place + 8, size
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Of MPEG audio."""

    length: int
    side: int  # bytes from its start to what an encoder may say of the file in the first one
    fixed: int  # what is the same in every frame of a file


def is_mpeg(head: bytes) -> bool:
    """Whether a frame of MPEG audio begins so."""
    return _frame(head) is not None


def _frame(head: bytes | bytearray) -> _Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    speed = 1000 * _KBITS[first, layer if first else min(layer, 2)][kbits - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        length = (12 * speed // hertz + padding) * 4
    else:
        length = (72 if layer == 3 and not first else 144) * speed // hertz + padding
    mono = head[3] >> 6 == 3
    side = 4 + ((17 if mono else 32) if first else (9 if mono else 17))
    return _Frame(length, side, (head[1] & 0xFE) << 8 | head[2] & 0x0C)


def mpeg(file: BinaryIO, base: int, size: int) -> Promise:
    """What an MP3 file promises; one that does not say how many frames it has is read as if it did.

    A decoder would guess the length from the first frame, which is far off where the rate varies.
    """
    file.seek(base)
    head = file.read(256)
    first = _frame(head)
    if first is None:
        return Promise()
    told = max(head.find(mark, 4, 64) for mark in (b"Xing", b"Info", b"VBRI"))
    promised, frames = _said(head[told:].ljust(18, b"\0")) if told > 0 else (0, 0)
    if frames:
        return Promise.cut(size - base, promised) if base + promised > size else Promise()
    begin = base + first.length * (told > 0)
    frames, end, missing = _counted(file, begin, _before_tags(file, size), first.fixed)
    if missing:
        return Promise(f"cut short, {missing} bytes of its last frame are missing; copy the file again")
    return Promise().seen_as(_described(head, first, frames, end - begin), begin, end) if frames else Promise()


def _said(told: bytes) -> tuple[int, int]:
    """Bytes and frames, 0 where an encoder does not say."""
    if told[:4] == b"VBRI":
        return struct.unpack(">II", told[10:18])
    flags, one, other = struct.unpack(">III", told[4:16])
    frames = one if flags & 1 else 0
    return (other if flags & 1 else one) if flags & 2 else 0, frames


def _counted(file: BinaryIO, begin: int, end: int, fixed: int) -> tuple[int, int, int]:
    """Frames from `begin` on, where the last one ends, and how many bytes of it are missing."""
    frames, at, held, start = 0, begin, b"", begin
    while at + 4 <= end:
        if at + 4 > start + len(held):
            file.seek(at)
            held, start = file.read(_BLOCK), at
        found = _frame(held[at - start : at - start + 4])
        if found is None or found.fixed != fixed:
            file.seek(at)
            skipped = _next_frame(file.read(_BLOCK), fixed)
            if skipped == 0:  # nothing but other things to the end
                break
            at += skipped
        elif at + found.length > end:
            return frames, at, at + found.length - end
        else:
            frames, at = frames + 1, at + found.length
    return frames, at, 0


def _next_frame(held: bytes, fixed: int) -> int:
    """Bytes up to a frame that another one follows, as a decoder finds its way again; 0: none."""
    at = held.find(b"\xff", 1)
    while at >= 0:
        found = _frame(held[at : at + 4])
        if found is not None and found.fixed == fixed:
            after = _frame(held[at + found.length : at + found.length + 4])
            if after is not None and after.fixed == fixed:
                return at
        at = held.find(b"\xff", at + 1)
    return 0


def _described(head: bytes, first: _Frame, frames: int, length: int) -> bytes:
    """A first frame of silence that says how many follow."""
    own = bytearray(head[:4])
    own[1] |= 1  # no checksum
    own[2] &= 0xFD  # no padding
    found = _frame(own)
    while found is not None and found.length < found.side + 16:
        own[2] += 0x10
        found = _frame(own)
    if found is None:
        return b""
    told = struct.pack(">4sIII", b"Xing", 3, frames, length + found.length)
    return (bytes(own) + bytes(found.side - 4) + told).ljust(found.length, b"\0")


def _before_tags(file: BinaryIO, size: int) -> int:
    """Where the tags at the end begin."""
    for _ in range(len(_TAGS)):
        for mark, length in _TAGS:
            file.seek(max(0, size - length))
            tail = file.read(length)
            if tail.startswith(mark):
                held = struct.unpack("<I", tail[12:16])[0] if mark == b"APETAGEX" else 0
                size = max(0, size - max(length, held))
    return size
