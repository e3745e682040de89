"""Sound that keeps coming: from a file, a pipe, a microphone or a folder that a recorder writes into."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from asd.data.audio.channels import Channel
from asd.data.audio.decoding import AudioError, opened
from asd.data.layouts.walk import is_recording, left_alone, sort_out, walk
from asd.errors import Notice, UserError

BLOCK_SECONDS = 0.25
_BURST_SECONDS = 5.0
"""What a live source may hold back before it is read from."""

FORMATS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}


@dataclass(frozen=True)
class Block:
    """A stretch of sound.

    Attributes:
        samples: ``(n, C)`` float32.
        lost: Samples that were lost just before it.
    """

    samples: NDArray[np.float32]
    lost: int = 0


def from_file(path: Path, speed: float = 1.0, clock: Callable[[float], None] = time.sleep) -> Iterator[Block]:
    """A file block by block: at so many times its own speed, or as fast as it can be taken (0).

    Raises:
        AudioError: The file cannot be used.
    """
    with opened(path) as file:
        begin, done = time.monotonic(), 0.0
        size = max(1, round(BLOCK_SECONDS * file.samplerate))
        for samples in file.parts(size):
            if speed > 0:
                done += len(samples) / file.samplerate / speed
                clock(max(0.0, begin + done - time.monotonic()))
            yield Block(samples)


def from_pipe(pipe: IO[bytes], sample_rate: int, channels: int, form: str) -> Iterator[Block]:
    """Raw samples from a pipe, channels interleaved; half a sample at the end is left out."""
    kind = np.dtype(FORMATS[form])
    width = kind.itemsize * channels
    size = max(1, round(BLOCK_SECONDS * sample_rate)) * width
    rest = b""
    while data := pipe.read(size):
        data = rest + data
        whole = len(data) // width * width
        rest = data[whole:]
        values = np.frombuffer(data[:whole], kind).reshape(-1, channels)
        scale = 1.0 if kind.kind == "f" else float(2 ** (8 * kind.itemsize - 1))
        yield Block((values / scale).astype(np.float32))


def from_microphone(sample_rate: int, channels: int) -> Iterator[Block]:
    """The default microphone, through `sounddevice` where it is installed.

    Raises:
        UserError: It is not installed, or no microphone answers.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise UserError("a microphone needs the package sounddevice and its library; install them") from error
    held: queue.Queue[Block] = queue.Queue()

    def take(samples: NDArray[np.float32], frames: int, _: Any, status: Any) -> None:
        held.put(Block(samples.copy(), lost=frames if getattr(status, "input_overflow", False) else 0))

    size = round(BLOCK_SECONDS * sample_rate)
    try:
        with sounddevice.InputStream(sample_rate, size, channels=channels, dtype="float32", callback=take):
            while True:
                yield held.get()
    except sounddevice.PortAudioError as error:
        raise UserError(f"the microphone cannot be opened: {error}") from error


def buffered(blocks: Iterator[Block], seconds: float, sample_rate: int) -> Iterator[Block]:
    """The same blocks, read ahead by another thread; where the reader is too slow, the oldest are lost and counted.

    Sound that comes faster than it can have been made was recorded before: nobody waits for it, so it waits instead.

    Args:
        blocks: A stream that does not wait.
        seconds: Sound that is held at most.
        sample_rate: Hz.
    """
    held: queue.Queue[Block | BaseException | None] = queue.Queue(max(2, round(seconds / BLOCK_SECONDS)))
    lost, heard, recorded, begin = 0, 0.0, False, time.monotonic()

    def put(item: Block | BaseException | None) -> None:
        nonlocal lost, heard, recorded
        heard += len(item.samples) / sample_rate if isinstance(item, Block) else 0
        recorded = recorded or heard - (time.monotonic() - begin) > _BURST_SECONDS
        while True:
            if recorded:
                held.put(item)
                return
            with contextlib.suppress(queue.Full):
                held.put_nowait(item)
                return
            with contextlib.suppress(queue.Empty):
                dropped = held.get_nowait()
                if isinstance(dropped, Block):
                    lost += len(dropped.samples) + dropped.lost

    def read() -> None:
        try:
            for block in blocks:
                put(block)
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed on to whoever takes the blocks
            put(error)

    threading.Thread(target=read, daemon=True).start()
    told = 0
    while (item := held.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        missing, told = lost - told, lost
        yield Block(item.samples, item.lost + missing) if missing else item


def new_files(
    folder: Path, poll: float = 1.0, follow: bool = True, clock: Callable[[float], None] = time.sleep
) -> Iterator[Path]:
    """Recordings in a folder and the folders in it, in order of time, each once it has stopped growing.

    A `Notice` tells what is left alone at the start.

    Only the paths of files no older than the newest that was given are kept in mind, so it can go on for years.

    Args:
        folder: Where a recorder writes.
        poll: Seconds between two looks; a file is whole when its size is the same in both.
        follow: Go on waiting; else end when every file was given.
        clock: What waits.

    Raises:
        UserError: No such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder, a file, - for a pipe, or microphone")
    for note in left_alone(folder, [], sort_out(walk(folder))[1]):
        warnings.warn(note, Notice, stacklevel=2)
    newest, given = -1, set[Path]()
    sizes: dict[Path, int] = {}
    while True:
        found = sorted(_recordings(folder, newest, given))
        ready = [(at, path) for at, path, size in found if not follow or (size > 0 and sizes.get(path) == size)]
        sizes = {path: size for _, path, size in found}
        for at, path in ready:
            yield path
            given = {path, *given} if at == newest else {path}
            newest = at
        if not follow:
            return
        clock(poll)


def _recordings(folder: Path, newest: int, given: set[Path]) -> Iterator[tuple[int, Path, int]]:
    # The newest may have been moved to another folder since, which makes it no other recording.
    moved = {path.name for path in given if not path.exists()}
    for path in walk(folder):
        if path in given or not is_recording(path.name):
            continue
        with contextlib.suppress(OSError):  # it may have gone since
            try:
                facts = path.stat()
            except FileNotFoundError:
                facts = path.lstat()  # a link that leads nowhere, of which whoever opens it tells
            at = facts.st_mtime_ns
            if at > newest or (at == newest and path.name not in moved):
                yield at, path, facts.st_size


def rate_of(path: Path, channel: Channel = None) -> int:
    """Sample rate of a file in Hz, which must have that channel.

    Raises:
        AudioError: The file cannot be used.
    """
    with opened(path, channel) as file:
        rate: int = file.samplerate
        return rate


__all__ = ["AudioError", "Block", "buffered", "from_file", "from_microphone", "from_pipe", "new_files"]
