"""Sound that keeps coming: from a file, a pipe, a microphone or a folder that a recorder writes into."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from asd.data.audio.channels import Channel
from asd.data.audio.decoding import AudioError, opened
from asd.data.layouts.walk import is_recording, left_alone, sort_out, walk
from asd.errors import Notice, UserError

BLOCK_SECONDS = 0.25
_BURST_SECONDS = 5.0
"""What a live source may hold back before it is read from."""

_CLOCKS_DIFFER = 60_000_000_000
"""Nanoseconds by which the clocks of a recorder and of this machine may differ."""

_IDLE_SECONDS = 0.5

FORMATS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}


@dataclass(frozen=True)
class Block:
    """A stretch of sound.

    Attributes:
        samples: ``(n, C)`` float32.
        lost: Samples that were lost just before it.
        state: What is to be told of the source from here on, such as ``away``, and why; mostly nothing.
    """

    samples: NDArray[np.float32]
    lost: int = 0
    state: tuple[str, str] | None = None


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


def from_microphone(
    sample_rate: int, channels: int, device: str | None = None, patience: float | None = None
) -> Iterator[Block]:
    """A microphone, through `sounddevice` where that is installed.

    Args:
        sample_rate: Hz.
        channels: How many.
        device: Its name, or a part of it; ``None``: the default one.
        patience: Seconds without sound after which it counts as gone; ``None``: never.

    Raises:
        UserError: The package is not installed, or no such microphone answers.
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
        with sounddevice.InputStream(sample_rate, size, device, channels, "float32", callback=take):
            while True:
                yield held.get(timeout=patience)
    except queue.Empty as error:
        raise UserError("the microphone gives no sound; check its plug") from error
    except (sounddevice.PortAudioError, ValueError) as error:  # a name that fits none or several is a ValueError
        raise UserError(f"the microphone cannot be opened: {error}") from error


def buffered(
    blocks: Iterator[Block], seconds: float, sample_rate: int, idle: Callable[[], bool] | None = None
) -> Iterator[Block]:
    """The same blocks, read ahead by another thread; where the reader is too slow, the oldest are lost and counted.

    Sound that comes faster than it can have been made was recorded before: nobody waits for it, so it waits instead.

    Args:
        blocks: A stream that does not wait.
        seconds: Sound that is held at most.
        sample_rate: Hz.
        idle: Asked twice a second, while nothing comes, whether to go on waiting; ``None``: always.
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
    while True:
        try:
            item = held.get(timeout=None if idle is None else _IDLE_SECONDS)
        except queue.Empty:
            if idle is None or idle():
                continue
            return
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        missing, told = lost - told, lost
        yield replace(item, lost=item.lost + missing) if missing else item


@dataclass
class Seen:
    """Which recordings of a folder were given, in bounded memory.

    Attributes:
        newest: When the last of them was written, in nanoseconds since 1970; what is older was given.
        given: Paths in the folder of those that were written then or, where the clock went back, later.
    """

    newest: int = -1
    given: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Any) -> Self:
        """From what `to_dict` gave; what is no such thing is nothing."""
        try:
            return cls(int(kept["newest"]), {str(name): int(at) for name, at in kept["given"].items()})
        except (TypeError, KeyError, ValueError, AttributeError):
            return cls()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to be kept."""
        return {"newest": self.newest, "given": self.given}

    def add(self, name: str, at: int) -> None:
        """A recording was given that was written then."""
        self.newest = max(self.newest, at)
        self.given = {one: when for one, when in {**self.given, name: at}.items() if when >= self.newest}

    def turn_back(self, now: int, since: int, found: Iterable[tuple[str, int]]) -> bool:
        """Where the newest is of the future, what is written from now on is new all the same.

        Args:
            now: Nanoseconds since 1970.
            since: What was written since then may not have been looked at.
            found: All recordings that are there, and when they were written.

        Returns:
            Whether the clock went back by more than those of two machines differ.
        """
        back = self.newest - now > _CLOCKS_DIFFER
        self.given |= {name: at for name, at in found if now < at <= self.newest}
        self.newest = since
        return back


def new_files(
    folder: Path,
    poll: float = 1.0,
    follow: bool = True,
    clock: Callable[[float], None] = time.sleep,
    seen: Seen | None = None,
    keep: Callable[[], None] = lambda: None,
) -> Iterator[Path]:
    """Recordings in a folder and the folders in it, in order of time, each once it has stopped growing.

    A `Notice` tells what is left alone at the start, and that the clock went back.

    Args:
        folder: Where a recorder writes.
        poll: Seconds between two looks; a file is whole when its size is the same in both.
        follow: Go on waiting; else end when every file was given.
        clock: What waits.
        seen: What was given before, which is little, so that it can go on for years; kept up to date.
        keep: Called whenever that changed, once whoever took a file asks for the next.

    Raises:
        UserError: No such folder.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; give a folder, a file, - for a pipe, or microphone")
    for note in left_alone(folder, [], sort_out(walk(folder))[1]):
        warnings.warn(note, Notice, stacklevel=2)
    seen = Seen() if seen is None else seen
    sizes: dict[Path, int] = {}
    while True:
        now = time.time_ns()
        there = ((name, at) for at, _, name, _ in _recordings(folder))
        if seen.newest > now and seen.turn_back(now, now - round(2e9 * poll), there):
            told = (
                "the clock went back, or the newest file is of the future; files that are written from now on are new"
            )
            warnings.warn(f"{folder}: {told}", Notice, stacklevel=2)
        found = sorted(_new(folder, seen))
        ready = [(at, path, name) for at, path, name, size in found if not follow or 0 < size == sizes.get(path)]
        sizes = {path: size for _, path, _, size in found}
        for at, path, name in ready:
            yield path
            seen.add(name, at)
            keep()
        if not follow:
            return
        clock(poll)


def _new(folder: Path, seen: Seen) -> Iterator[tuple[int, Path, str, int]]:
    # The newest may have been moved to another folder since, which makes it no other recording.
    moved = {Path(name).name for name in seen.given if not (folder / name).exists()}
    for at, path, name, size in _recordings(folder):
        if seen.given.get(name) != at and (at > seen.newest or (at == seen.newest and path.name not in moved)):
            yield at, path, name, size


def _recordings(folder: Path) -> Iterator[tuple[int, Path, str, int]]:
    """When each was written, its path, the same in the folder, and its size."""
    for path in walk(folder):
        if not is_recording(path.name):
            continue
        with contextlib.suppress(OSError):  # it may have gone since
            try:
                facts = path.stat()
            except FileNotFoundError:
                facts = path.lstat()  # a link that leads nowhere, of which whoever opens it tells
            yield facts.st_mtime_ns, path, str(path.relative_to(folder)), facts.st_size


def rate_of(path: Path, channel: Channel = None) -> int:
    """Sample rate of a file in Hz, which must have that channel.

    Raises:
        AudioError: The file cannot be used.
    """
    with opened(path, channel) as file:
        rate: int = file.samplerate
        return rate


__all__ = ["AudioError", "Block", "Seen", "buffered", "from_file", "from_microphone", "from_pipe", "new_files"]
