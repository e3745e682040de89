"""Compressed formats that libsndfile does not read, such as the m4a of a phone: decoded by audioread through ffmpeg."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple

FOREIGN = (".m4a", ".aac", ".mp4", ".wma", ".amr", ".3gp", ".webm", ".mkv", ".mka")
"""Names of files that need ffmpeg; what is in them decides."""

_FAILED = re.compile(
    rb"ended prematurely|partial file|error while decoding|error submitting packet|invalid data found", re.IGNORECASE
)
_SHORTER_SECONDS, _SHORTER_PART = 0.5, 0.02
"""A film may outlast its sound, and lengths are rounded: more than this is missing."""


class Decoded(NamedTuple):
    """A recording as samples on disk, which are removed once nobody holds it.

    Attributes:
        file: Samples in 16 bits, lowest byte first, channels interleaved.
        sample_rate: Hz.
        channels: Number of channels.
    """

    file: IO[bytes]
    sample_rate: int
    channels: int


def decoded(path: Path, at_most: float | None = None) -> Decoded:
    """Decode a file; the last two are kept, because a recording is cut into many clips.

    Args:
        path: The file.
        at_most: Seconds after which to stop; ``None``: at the end.

    Raises:
        OSError: It cannot be decoded to its end, or no program that decodes it is installed.
    """
    facts = path.stat()
    return _decoded(path.resolve(), facts.st_size, facts.st_mtime_ns, at_most)


def decoded_bytes(content: bytes, at_most: float | None = None) -> Decoded:
    """The same of what a file holds."""
    with tempfile.TemporaryDirectory(prefix="asd-") as folder:
        path = Path(folder, "recording")
        path.write_bytes(content)
        return _decode(path, at_most)


@functools.lru_cache(maxsize=2)
def _decoded(path: Path, size: int, changed: int, at_most: float | None) -> Decoded:
    return _decode(path, at_most)


def _decode(path: Path, at_most: float | None) -> Decoded:
    import audioread

    try:
        with audioread.audio_open(str(path)) as sound:
            width, rate = 2 * sound.channels, sound.samplerate
            out, done = tempfile.TemporaryFile(prefix="asd-"), 0  # noqa: SIM115 - closed with the last that reads it
            for block in sound:
                out.write(block)
                done += len(block)
                if at_most is not None and done > at_most * rate * width:
                    break
            else:
                _check_end(sound, path, done / (rate * width))
            out.truncate(done - done % width)
            out.flush()
            return Decoded(out, rate, sound.channels)
    except audioread.NoBackendError as error:
        if shutil.which("ffmpeg") is None:
            raise OSError("ffmpeg, which decodes this format, is not installed") from error
        raise OSError("it is cut short or broken") from error
    except (audioread.DecodeError, EOFError, ValueError, ZeroDivisionError) as error:
        raise OSError(f"decoding stopped: {type(error).__name__}") from error


def _check_end(sound: Any, path: Path, seconds: float) -> None:
    process = getattr(sound, "proc", None)  # another decoder than ffmpeg raises its errors itself
    if process is not None:
        process.wait()
        sound.stderr_reader.join()
        if process.returncode or _FAILED.search(b"".join(sound.stderr_reader.queue.queue)):
            raise OSError(f"cut short or damaged, {seconds:.1f} s can be decoded")
    with path.open("rb") as file:
        rough = file.read(2)[:1] == b"\xff"  # without a header that tells the length
    missing = sound.duration - seconds
    if not rough and missing > max(_SHORTER_SECONDS, _SHORTER_PART * sound.duration):
        raise OSError(f"cut short, {seconds:.1f} of {sound.duration:.1f} s can be decoded")
