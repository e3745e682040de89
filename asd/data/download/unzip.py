"""Unpacking an archive that may be broken or malicious: nothing outside the folder, no bomb, whole or not at all."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from asd.errors import UserError
from asd.utils.files import is_plain

_MOST_EXPANSION = 100
_CHUNK = 1 << 20
# What the modules of the standard library raise for archives of other makes; OSError without a number is bz2's.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, OverflowError,
    RuntimeError, ValueError, OSError,
)  # fmt: skip


def unpack(archive: Path, into: Path) -> int:
    """Unpack a zip file into a folder, beside what is there; returns the number of files.

    Everything is unpacked aside first and moved into place when the last byte was right, so that an interrupted call
    leaves no clip that is half there.

    Raises:
        UserError: No zip file, a broken one, one whose entries lead outside the folder, are links or encrypted, or that
            would unpack to a hundred times its size or beyond the disk.
    """
    aside = into / f".{archive.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            _check_names(archive, file.infolist())
            entries = [entry for entry in file.infolist() if not entry.is_dir()]
            _check(archive, entries, into)
            for entry in entries:
                _extract(file, entry, aside / entry.filename)
        for entry in entries:
            place = into / entry.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            (aside / entry.filename).replace(place)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
            raise
        raise UserError(
            f"{archive} is a broken archive ({error or type(error).__name__}); remove it and download again"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return len(entries)


def _check_names(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for entry in entries:
        shown = repr(entry.filename[:100])
        path = PurePosixPath(entry.filename.casefold())
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise UserError(f"{archive}: {shown} leads outside the folder; nothing was unpacked")
        if not path.parts or not all(map(is_plain, path.parts)):
            raise UserError(f"{archive}: {shown} cannot be the name of a file; nothing was unpacked")
        folders.update(path.parents)
        if entry.filename.endswith("/"):
            folders.add(path)
        elif path in files:
            raise UserError(f"{archive}: {shown} is there twice; nothing was unpacked")
        else:
            files.add(path)
    both = sorted(files & folders)
    if both:
        raise UserError(f"{archive}: {str(both[0])!r} is a file and a folder; nothing was unpacked")


def _check(archive: Path, entries: list[zipfile.ZipInfo], into: Path) -> None:
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{archive}: {entry.filename!r} is a link; nothing was unpacked")
        if entry.flag_bits & 1:
            raise UserError(f"{archive}: {entry.filename!r} is encrypted; nothing was unpacked")
    total, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if total > _MOST_EXPANSION * packed:
        raise UserError(f"{archive}: {packed:,} bytes would unpack to {total:,}; nothing was unpacked")
    into.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(into).free
    if total > free:
        raise UserError(f"{into}: {total:,} bytes are to be unpacked and {free:,} are free; free space")


def _extract(file: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with file.open(entry) as source, place.open("wb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename} is longer than it says")
            out.write(chunk)
    if left:
        raise zipfile.BadZipFile(f"{entry.filename} is shorter than it says")
