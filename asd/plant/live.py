"""Sources that make their sound while it is listened to, opened: a pipe, a microphone, whatever ffmpeg reads."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple
from weakref import WeakSet

import numpy as np

from asd.errors import UserError
from asd.inference.stream import BLOCK_SECONDS, Block, from_microphone, from_pipe
from asd.plant.options import STANDARD_INPUT, SourceOptions

STALL_SECONDS = 30.0

_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_AU = struct.Struct(">4sIIIII")
_AU_INT16 = 3
_STARTED = WeakSet[subprocess.Popen[bytes]]()


class Opened(NamedTuple):
    """A source from which sound comes.

    Attributes:
        sample_rate: Hz.
        blocks: The sound; raises `OSError` or `UserError` where it breaks off.
        interrupt: Makes it end, from any thread; where that cannot be, nothing.
    """

    sample_rate: int
    blocks: Iterator[Block]
    interrupt: Callable[[], None]


def check(sources: Iterable[SourceOptions]) -> None:
    """Raise `UserError` where a source can never be opened here."""
    for source in sources:
        if source.url is not None and shutil.which("ffmpeg") is None:
            raise UserError("a source has a url, which ffmpeg reads, and ffmpeg is not installed; install it")
        if source.pipe == Path(STANDARD_INPUT):
            raise UserError("a source is the pipe -, which is for one source alone; name a pipe (mkfifo)")


def opened(source: SourceOptions) -> Opened:
    """Open a live source.

    Raises:
        OSError: It cannot be opened.
    """
    if source.url is not None:
        return _from_url(source.url, source.stall or STALL_SECONDS)
    blocks = _from_microphone(source) if source.pipe is None else _from_pipe(source.pipe, source)
    return Opened(source.rate, blocks, lambda: None)


def interrupt_all() -> None:
    """End all that was started to read a source, also what still waits for its first sound."""
    for process in list(_STARTED):
        process.kill()


def _from_pipe(path: Path, source: SourceOptions) -> Iterator[Block]:
    with path.open("rb") as pipe:  # waits until somebody writes
        yield from from_pipe(pipe, source.rate, source.channels, source.format)


def _from_microphone(source: SourceOptions) -> Iterator[Block]:
    device = None if source.microphone == "default" else source.microphone
    return from_microphone(source.rate, source.channels, device, source.stall or STALL_SECONDS)


def _from_url(url: str, patience: float) -> Opened:
    """Whatever ffmpeg reads, at its own rate and with its own channels, which the AU format tells first."""
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-i", url, "-vn", "-c:a", "pcm_s16be"]
    process = subprocess.Popen([*command, "-f", "au", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _STARTED.add(process)
    out, errors = process.stdout, process.stderr
    assert out is not None
    assert errors is not None
    said: deque[bytes] = deque(maxlen=1)
    listening = threading.Thread(target=lambda: said.extend(line for line in errors if line.strip()), daemon=True)
    listening.start()

    def reason() -> str:
        process.kill()
        process.wait()
        listening.join(1.0)
        text = b"".join(said).decode("utf-8", "replace").strip()
        return _CREDENTIALS.sub("//", text) or "nothing comes from it"

    impatient = threading.Timer(patience, process.kill)
    impatient.start()
    try:
        rate, channels = _header(out)
    except ValueError as error:
        raise OSError(reason()) from error
    finally:
        impatient.cancel()

    def blocks() -> Iterator[Block]:
        width = 2 * channels
        size = max(1, round(BLOCK_SECONDS * rate)) * width
        try:
            while data := out.read(size):
                values = np.frombuffer(data[: len(data) // width * width], ">i2").reshape(-1, channels)
                yield Block((values / 32768).astype(np.float32))
            if process.wait():
                raise OSError(reason())
        finally:
            process.kill()
            process.wait()
            out.close()

    return Opened(rate, blocks(), process.kill)


def _header(file: IO[bytes]) -> tuple[int, int]:
    """Rate and channels; `ValueError` where there are none."""
    head = file.read(_AU.size)
    if len(head) < _AU.size:
        raise ValueError("ended in its header")
    magic, offset, _, encoding, rate, channels = _AU.unpack(head)
    if magic != b".snd" or encoding != _AU_INT16 or not rate or not channels:
        raise ValueError("another format")
    file.read(offset - _AU.size)
    return rate, channels
