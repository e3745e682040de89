"""Decoded clips in one file on disk, mapped into memory: decoded once for all runs and processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio.channels import Channel
from asd.data.audio.decoding import AudioError, decode
from asd.data.audio.ram_cache import in_16_bits
from asd.data.audio.samples import Samples
from asd.data.clip import Member, Sound
from asd.errors import UserError
from asd.utils.log import logger, notice

VERSION = 1
_MAGIC = b"asd-pcm\n"
_TRAILER = struct.Struct("<QQ8s")
"""Where the description begins, its length, and the mark of a whole file."""

_AHEAD = 64
"""Clips decoded at a time while a file is written."""


class DiskCache:
    """Clips as 16-bit samples at the target rate, in one file that many processes map.

    The file holds the samples of every clip, then a JSON description with a checksum of each clip, then a trailer; it
    is written aside under a lock and renamed, so that whoever finds it finds it whole. It is made anew where a clip's
    size or time of change differs, or where another version wrote it. A clip is checked against its checksum when a
    process first reads it; a damaged file is removed, and its clips are decoded from their own files.

    Args:
        path: A file that `built` made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        described = _describe(path)
        assert described is not None, path
        self._slots = {_sound(row): slot for slot, row in enumerate(described["sounds"])}
        self._places: list[tuple[int, int]] = described["places"]
        self._steps: list[float] = described["steps"]
        self._checksums: list[int] = described["checksums"]
        self._checked = bytearray(len(self._places))
        self._samples = _map(path, self._places[-1][1] if self._places else 0)

    @classmethod
    def built(
        cls,
        folder: Path,
        name: str,
        lengths: Mapping[Sound, int],
        sample_rate: int,
        channel: Channel = None,
        band: float | None = None,
    ) -> DiskCache:
        """Open the file of these clips, after making it where it is not there or no longer right.

        Clips that cannot be decoded are left out; whoever reads them from their own file gets the error.

        Args:
            folder: Where the files lie; made where it is not there.
            name: What the file's name begins with.
            lengths: Samples to hold of each sound, at most.
            sample_rate: Hz of the samples.
            channel: The channel to take, see `asd.data.audio.channels`.
            band: Hz of bandwidth that is left; ``None``: all.

        Raises:
            UserError: The file cannot be written.
        """
        rows = [_row(sound) for sound in lengths]
        asked = [sample_rate, channel] if band is None else [sample_rate, channel, band]
        key = json.dumps([rows, list(lengths.values()), *asked]).encode()
        path = folder / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}.pcm"
        signature = _signature(lengths)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Ends with the process, so an interrupted build leaves no lock behind.
            with FileLock(path.with_suffix(".lock")):
                if not _is_right(path, signature):
                    logger.info(f"decoding {len(lengths)} clips into {path}, once")
                    _drop_stale(folder)
                    _write(path, signature, lengths, lambda sound: decode(sound, sample_rate, channel, band))
        except OSError as error:
            raise UserError(
                f"cannot write the cache {path}: {error.strerror or error}; "
                "free space, or choose another data.disk_cache"
            ) from error
        return cls(path)

    def __len__(self) -> int:
        """Number of clips that are held."""
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return self._samples.nbytes

    def slot(self, sound: Sound) -> int:
        """The place of a sound; -1: it has none."""
        return self._slots.get(sound, -1)

    def get(self, slot: int) -> tuple[Tensor, float] | None:
        """Samples ``(T,)`` int16 and the value of one step; ``None`` where they are damaged."""
        start, end = self._places[slot]
        samples = self._samples[start:end]
        if not self._checked[slot]:
            if zlib.crc32(samples.numpy().data) != self._checksums[slot]:
                notice(f"the cache {self.path} is damaged; it is removed, and the next run makes it anew")
                _remove(self.path)
                return None
            self._checked[slot] = 1
        return samples, self._steps[slot]

    def put(self, slot: int, samples: NDArray[np.int16] | NDArray[np.float32]) -> tuple[Tensor, float]:
        """What `get` would give of samples ``(T,)`` that are read in the place of damaged ones; nothing is kept."""
        start, end = self._places[slot]
        rounded, step = in_16_bits(samples)
        return torch.from_numpy(rounded[: end - start]), step

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]  # a spawned worker maps the file itself


def _row(sound: Sound) -> list[Any]:
    row = [str(sound.path), sound.start, sound.seconds, sound.member]
    return row if sound.channel is None else [*row, sound.channel]


def _sound(row: list[Any]) -> Sound:
    path, start, seconds, member, *channel = row
    return Sound(Path(path), start, seconds, None if member is None else Member(*member), None, *channel)


def _signature(sounds: Iterable[Sound]) -> str:
    """Of size and time of change of every file; archives in other places are taken not to change."""
    digest = hashlib.sha256()
    for place in dict.fromkeys(str(one.path) if one.member is None else one.member.archive for one in sounds):
        with contextlib.suppress(OSError):
            found = Path(place).stat()
            digest.update(f"{place}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _is_right(path: Path, signature: str) -> bool:
    described = _describe(path)
    if described is None or described["version"] != VERSION or described["signature"] != signature:
        if path.exists():
            logger.info(f"{path} is of other files or of another version; it is made anew")
        return False
    return True


def _describe(path: Path) -> dict[str, Any] | None:
    """The description in a file; ``None`` where it is not there or not whole."""
    try:
        with path.open("rb") as file:
            file.seek(-_TRAILER.size, os.SEEK_END)
            start, length, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or start + length + _TRAILER.size != path.stat().st_size:
                return None
            file.seek(start)
            described: dict[str, Any] = json.loads(file.read(length))
            return described
    except (OSError, ValueError, struct.error):
        return None


def _drop_stale(folder: Path) -> None:
    """Remove caches of files that have changed or are gone; processes that map one keep it until they end."""
    for path in folder.glob("*.pcm"):
        described = _describe(path)
        if described is None or _signature([_sound(row) for row in described["sounds"]]) != described["held"]:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows keeps a file that a process maps
        path.unlink()


def _write(path: Path, signature: str, lengths: Mapping[Sound, int], decoder: Callable[[Sound], Samples]) -> None:
    aside = path.with_suffix(".part")  # the lock makes it ours: what lies there is of a build that was stopped
    try:
        with aside.open("wb") as file:
            described: dict[str, Any] = {"version": VERSION, "signature": signature}
            described |= _write_samples(file, lengths, decoder)
            described["held"] = _signature([_sound(row) for row in described["sounds"]])
            start, text = file.tell(), json.dumps(described).encode()
            file.write(text + _TRAILER.pack(start, len(text), _MAGIC))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _write_samples(
    file: BinaryIO, lengths: Mapping[Sound, int], decoder: Callable[[Sound], Samples]
) -> dict[str, list[Any]]:
    sounds, places, steps, checksums = [], [], [], []
    end = 0

    def decoded(item: tuple[Sound, int]) -> tuple[Sound, NDArray[np.int16], float] | None:
        try:
            samples, step = in_16_bits(decoder(item[0]))
        except AudioError:
            return None
        return item[0], np.ascontiguousarray(samples[: item[1]]), step

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        items = iter(lengths.items())
        while some := list(islice(items, _AHEAD)):
            for found in filter(None, pool.map(decoded, some)):
                sound, samples, step = found
                file.write(samples.data)
                sounds.append(_row(sound))
                places.append((end, end + len(samples)))
                steps.append(step)
                checksums.append(zlib.crc32(samples.data))
                end += len(samples)
    return {"sounds": sounds, "places": places, "steps": steps, "checksums": checksums}


def _map(path: Path, samples: int) -> Tensor:
    if samples == 0:
        return torch.empty(0, dtype=torch.int16)
    return torch.from_file(str(path), shared=False, size=samples, dtype=torch.int16)
