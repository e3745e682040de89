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
from torch import Tensor

from asd.data.audio.band import Resampler
from asd.data.audio.decoding import AudioError, opened
from asd.data.audio.ram_cache import in_16_bits
from asd.data.audio.recorded import Meter
from asd.data.audio.samples import why_broken, why_dead
from asd.data.layouts.walk import is_recording, left_alone, sort_out, walk
from asd.errors import Notice, UserError
from asd.inference.windows import Cut, fitted

BLOCK_SECONDS = 0.25
_METERED_SECONDS = 60.0
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


class Windower:
    """Cuts a stream into windows as it comes, at the rate of the detector.

    Args:
        cut: Rate, length and hop of the windows.
        sample_rate: Hz of the stream.

    Attributes:
        time: Seconds of the stream up to the last sample that was taken.
        unusable: Windows in which nothing can be heard, or that are no sound; they are left out.
        left_out: Those that the last block completed: when each begins, in seconds, and why it is left out.
        meter: Knows how the stream is recorded.
    """

    def __init__(self, cut: Cut, sample_rate: int) -> None:
        self.cut, self.rate = cut, sample_rate
        self.time = 0.0
        self.unusable = 0
        self.left_out: list[tuple[float, str]] = []
        self.meter = Meter(sample_rate)
        self._restart()

    def _restart(self) -> None:
        self._resampler = Resampler(self.rate, self.cut.sample_rate, self.cut.band)
        self._held = np.empty(0, np.float32)
        # Whether something can be heard is told before resampling, which rings on where a sound ends.
        self._own, self._own_begin = np.empty(0, np.float32), self.time
        self._begin = self.time
        self._skip = 0

    def push(self, block: Block) -> Iterator[tuple[float, Tensor]]:
        """Start in seconds and samples ``(T,)`` of every window that the block completes; then see `left_out`."""
        self.left_out = []
        if block.lost:
            self.time += block.lost / self.rate
            self._restart()
        self.time += len(block.samples) / self.rate
        mono = self._mono(block.samples)
        if self.meter.seconds < _METERED_SECONDS:
            self.meter.add(mono)
        yield from self._take(mono)

    def finish(self) -> Iterator[tuple[float, Tensor]]:
        """The same of the windows that the end of the stream, or a gap, completes: a resampler holds sound back."""
        self.left_out = []
        yield from self._take(np.empty(0, np.float32), last=True)

    def _take(self, mono: NDArray[np.float32], last: bool = False) -> Iterator[tuple[float, Tensor]]:
        if not self._resampler.idle:
            self._own = np.concatenate([self._own, mono])
            mono = self._resampler.push(mono, last)
        self._held = np.concatenate([self._held, mono])
        hop = round(self.cut.hop * self.cut.sample_rate)
        while True:
            if self._skip:  # a hop longer than a window leaves sound out
                gone = min(self._skip, len(self._held))
                self._held, self._skip = self._held[gone:], self._skip - gone
            if self._skip or len(self._held) < self.cut.samples:
                return
            part = self._held[: self.cut.samples]
            start = self._begin
            self._begin += hop / self.cut.sample_rate
            self._skip = max(0, hop - len(self._held))
            self._held = self._held[hop:]
            own = part if self._resampler.idle else self._own_of(start)
            why = why_broken(own) or why_broken(part) or why_dead(own)
            if why:
                self.unusable += 1
                self.left_out.append((start, why))
                continue
            yield start, fitted(*in_16_bits(part.clip(-1, 1)), self.cut)

    def _own_of(self, start: float) -> NDArray[np.float32]:
        """The samples of a window as they came; those before it are forgotten."""
        self._own = self._own[max(0, round((start - self._own_begin) * self.rate)) :]
        self._own_begin = start
        return self._own[: round(self.cut.seconds * self.rate)]

    def _mono(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.cut.channel is None or self.cut.channel >= samples.shape[1]:
            return np.ascontiguousarray(samples.mean(1, dtype=np.float32))
        return np.ascontiguousarray(samples[:, self.cut.channel])


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


def rate_of(path: Path) -> int:
    """Sample rate of a file in Hz.

    Raises:
        AudioError: The file cannot be used.
    """
    with opened(path) as file:
        rate: int = file.samplerate
        return rate


__all__ = ["AudioError", "Block", "Windower", "buffered", "from_file", "from_microphone", "from_pipe", "new_files"]
