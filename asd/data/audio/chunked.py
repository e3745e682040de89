"""Formats made of chunks, which say how many bytes of sound follow: WAV, RF64, W64, AIFF, CAF, AU.

A recorder that was stopped, or writes on, leaves a length that it did not know yet: such a file is read to its end. Any
other that ends before its sound does is cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from asd.data.audio.promise import Promise

_UNKNOWN_32 = 0x7FFF0000
"""Lengths from here on, and 0, are what programs write while they do not know: no such file is as long as it says."""

_UNKNOWN_64 = 1 << 62
_LEAST_EXTRA = 4096
_MOST_CHUNKS = 10_000
_W64_TAIL = bytes.fromhex("2e91cf11a5d628db04c10000")
_CHUNKS = {
    b"fmt ", b"data", b"LIST", b"fact", b"bext", b"JUNK", b"junk", b"id3 ", b"ID3 ", b"iXML", b"cue ", b"smpl", b"PEAK",
    b"ds64", b"FLLR", b"PAD ", b"inst", b"levl", b"link", b"axml", b"chna", b"cart", b"afsp", b"DISP", b"_PMX", b"acid",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Chunk:
    tag: bytes
    start: int  # of what it holds
    length: int


def riff(file: BinaryIO, base: int, size: int) -> Promise:
    """What a WAV file promises: RIFF, RIFX, RF64 or BW64 from byte `base` on."""
    magic = _at(file, base, 4)
    order = ">" if magic == b"RIFX" else "<"
    sizes, layout, rebuilt = b"", b"", magic == b"BW64"  # which libsndfile does not know
    for chunk, irregular in _riff_chunks(file, base + 12, size, order):
        rebuilt |= irregular
        if chunk.tag == b"ds64":
            sizes = _at(file, chunk.start, 16)
        elif chunk.tag == b"fmt ":
            layout = _at(file, chunk.start, min(chunk.length, 256))
        elif chunk.tag == b"data":
            promised, limit = chunk.length, _UNKNOWN_32
            if len(sizes) == 16:
                if promised == 0xFFFFFFFF:
                    promised, limit = int.from_bytes(sizes[8:], "little"), _UNKNOWN_64
                rebuilt |= promised != int.from_bytes(sizes[8:], "little")
            found = _judged(file, chunk.start, promised, size, limit, order)
            if found.fault or not (found.end or rebuilt) or len(layout) < 16:
                return found
            end = found.end or chunk.start + promised
            return _as_wav(found, magic, order, layout, chunk.start, end)
    return Promise()


def _judged(file: BinaryIO, start: int, promised: int, size: int, limit: int, order: str) -> Promise:
    """Bytes promised against those from `start` on; with an end where that is not the header's."""
    if promised == 0 or (promised >= limit and start + promised > size):
        return Promise(end=_before_chunks(file, start, size, order))
    if start + promised > size:
        return Promise.cut(size - start, promised)
    extra = size - _past_chunks(file, start + promised + promised % 2, size, order)
    if extra > max(_LEAST_EXTRA, promised // 10):
        return Promise(remark=f"its header tells of {promised} bytes of sound, and {extra} more follow, left unread")
    return Promise()


def _riff_chunks(file: BinaryIO, at: int, size: int, order: str) -> Iterator[tuple[_Chunk, bool]]:
    """Chunks, and whether one before was not padded to an even length as it should have been."""
    irregular = False
    for _ in range(_MOST_CHUNKS):
        if at + 8 > size:
            return
        tag, length = struct.unpack(f"{order}4sI", _at(file, at, 8))
        yield _Chunk(tag, at + 8, length), irregular
        at += 8 + length
        if length % 2:
            irregular = _at(file, at, 4) in _CHUNKS and _at(file, at + 1, 4) not in _CHUNKS
            at += not irregular


def _past_chunks(file: BinaryIO, at: int, size: int, order: str) -> int:
    """Where the known chunks that begin here end."""
    for chunk, _ in _riff_chunks(file, at, size, order):
        if chunk.tag not in _CHUNKS or chunk.start + chunk.length > size:
            return chunk.start - 8
        at = chunk.start + chunk.length + chunk.length % 2
    return min(at, size)


def _before_chunks(file: BinaryIO, start: int, size: int, order: str) -> int:
    """Where sound of unknown length ends: at the end of the file, or at chunks that reach just that far."""
    first = max(start, size - (1 << 16))
    tail = _at(file, first, size - first)
    places = (tail.find(tag) for tag in (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"PEAK"))
    for at in sorted(first + place for place in places if place >= 0):
        if _past_chunks(file, at, size, order) == size:
            return at
    return size


def _as_wav(found: Promise, magic: bytes, order: str, layout: bytes, start: int, end: int) -> Promise:
    """Sound of a known layout behind a plain WAV header that says its length; half a sample is left out."""
    length = end - start
    length -= length % max(1, struct.unpack(f"{order}H", layout[12:14])[0])
    layout += b"\0" * (len(layout) % 2)
    fmt = struct.pack(f"{order}4sI", b"fmt ", len(layout)) + layout
    if length + len(fmt) + 20 < 1 << 32:
        kind = b"RIFX" if magic == b"RIFX" else b"RIFF"
        head = struct.pack(f"{order}4sI4s", kind, length + len(fmt) + 12, b"WAVE")
        head += fmt + struct.pack(f"{order}4sI", b"data", length)
    else:
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, length + len(fmt) + 48, length, 0, 0)
        head = b"RF64\xff\xff\xff\xffWAVE" + sizes + fmt + b"data\xff\xff\xff\xff"
    return found.seen_as(head, start, start + length)


def w64(file: BinaryIO, base: int, size: int) -> Promise:
    """What a Sony Wave64 file promises; its chunks are padded to 8 bytes, and their lengths count their heads."""
    at, layout = base + 40, b""
    for _ in range(_MOST_CHUNKS):
        if at + 24 > size:
            break
        tag, length = struct.unpack("<4s12xQ", _at(file, at, 24))
        start = at + 24
        if tag == b"fmt ":
            layout = _at(file, start, min(max(0, length - 24), 256))
        elif tag == b"data":
            if length <= 24 or length >= _UNKNOWN_64:
                return _as_wav(Promise(), b"RIFF", "<", layout, start, size) if len(layout) >= 16 else Promise()
            return Promise.cut(size - start, length - 24) if start + length - 24 > size else Promise()
        if length < 24:
            break
        at += -(-length // 8) * 8
    return Promise()


def aiff(file: BinaryIO, base: int, size: int) -> Promise:
    """What an AIFF or AIFC file promises."""
    at = base + 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > size:
            break
        tag, length = struct.unpack(">4sI", _at(file, at, 8))
        if tag == b"SSND":
            start, promised = at + 16, length - 8
            if length <= 8 or (length >= _UNKNOWN_32 and start + promised > size):
                head = _patched(_at(file, base, start - base), at + 4 - base, ">I", min(size - at - 8, 0xFFFFFFFF))
                return Promise(end=size).seen_as(head, start, size)
            return Promise.cut(size - start, promised) if start + promised > size else Promise()
        at += 8 + length + length % 2
    return Promise()


def caf(file: BinaryIO, base: int, size: int) -> Promise:
    """What a Core Audio file promises; what describes its packets may come after the sound."""
    at = base + 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > size:
            break
        tag, length = struct.unpack(">4sq", _at(file, at, 12))
        if tag == b"data" and length <= 4:
            head = _patched(_at(file, base, at + 12 - base), at + 4 - base, ">q", size - at - 12)
            return Promise(end=size).seen_as(head, at + 12, size)
        if at + 12 + length > size:
            return Promise.cut(size - at - 12, length)
        if length < 0:
            break
        at += 12 + length
    return Promise()


def au(file: BinaryIO, base: int, size: int) -> Promise:
    """What a Sun audio file promises."""
    order = ">" if _at(file, base, 4) == b".snd" else "<"
    start, promised = struct.unpack(f"{order}II", _at(file, base + 4, 8).ljust(8, b"\0"))
    start += base
    if promised == 0 or (promised >= _UNKNOWN_32 and start + promised > size):
        head = _patched(_at(file, base, min(start - base, 4096)), 8, f"{order}I", min(size - start, 0xFFFFFFFF))
        return Promise(end=size).seen_as(head, base + len(head), size)
    return Promise.cut(size - start, promised) if start + promised > size else Promise()


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _patched(head: bytes, at: int, form: str, value: int) -> bytes:
    number = struct.pack(form, max(0, value))
    return head[:at] + number + head[at + len(number) :]


CHUNKED: dict[bytes, Callable[[BinaryIO, int, int], Promise]] = {
    b"RIFF": riff, b"RIFX": riff, b"RF64": riff, b"BW64": riff, b"riff": w64, b"FORM": aiff, b"caff": caf,
    b".snd": au, b"dns.": au,
}  # fmt: skip
"""By the first four bytes of a file."""
