"""An audio file that is read to the end that it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from asd.data.audio.samples import Samples
from asd.data.clip import Sound
from asd.errors import UserError

_AT_ONCE = 1 << 22
"""Samples of all channels that are read at once; a header alone never makes more memory be taken."""

_LOST = {"MP3": 2304, "OGG": 8192}
"""Samples at the end that a codec may keep to itself."""


class AudioError(UserError):
    """An audio file that cannot be used; its message starts with the path."""

    def __init__(self, message: str) -> None:
        # A loader's worker passes an error on as its traceback, whose last line ends in the message.
        super().__init__(message.rstrip().rpartition(f"{type(self).__name__}: ")[2])


class AudioFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that raises `AudioError` where it holds less than it promises.

    Attributes:
        sound: What was opened.
        remark: What is worth knowing of it.
        goes_on: It did not say its length, and is longer than was asked for.
    """

    sound: Sound
    remark = ""
    goes_on = False

    def taken(self, frames: int, dtype: str) -> Samples:
        """The next samples ``(frames, C)``, int16 or float32.

        Raises:
            AudioError: There are fewer, beyond what codecs lose, or they cannot be decoded.
        """
        most = max(1, _AT_ONCE // self.channels)
        if frames <= most:
            return self._next(frames, dtype)
        return np.concatenate([self._next(min(left, most), dtype) for left in range(frames, 0, -most)])

    def go_to(self, frame: int) -> None:
        """Read on from there; raises `AudioError` where the file ends before."""
        if self.tell() != frame:
            try:
                self.seek(frame)
            except soundfile.SoundFileError as error:
                raise self._broken(error) from error

    def parts(self, frames: int) -> Iterator[NDArray[np.float32]]:
        """All that is left in parts ``(frames, C)``; the last may be shorter; errors as of `taken`."""
        for left in range(self.frames - self.tell(), 0, -frames):
            yield self._next(min(frames, left), "float32").astype(np.float32, copy=False)

    def _next(self, frames: int, dtype: str) -> Samples:
        samples = self._read(frames, dtype)
        missing = frames - len(samples)
        if missing and (missing > _LOST.get(self.format, 0) or self.tell() + missing < self.frames):
            raise AudioError(
                f"{self.sound}: cut short, it promises {self.frames} samples and holds {self.tell()}; "
                "copy the file again"
            )
        return samples

    def _read(self, frames: int, dtype: str) -> Samples:
        try:
            samples: Samples = self.read(frames, dtype=dtype, always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise self._broken(error) from error
        return samples

    def _broken(self, error: Exception) -> AudioError:
        return AudioError(
            f"{self.sound}: cut short or damaged, it cannot be decoded to its end ({reason(error)}); "
            "copy the file again"
        )

    def check_end(self) -> None:
        """Raise `AudioError` where it ends before the sample that it calls the last, if that is quickly seen."""
        if self.format == "FLAC":
            self.go_to(self.frames - 1)
            self._next(1, "int16")

    def __enter__(self) -> Self:
        return self


class Endless(AudioFile):
    """A file that does not say its length, and cannot be sought to its end."""

    def seekable(self) -> bool:
        """No."""
        return False

    def counted(self, at_most: float | None) -> int:
        """Samples that can be decoded; a few more than `at_most` seconds at the most."""
        limit = None if at_most is None else at_most * self.samplerate
        done = 0
        while samples := len(self._read(max(1, _AT_ONCE // (16 * self.channels)), "int16")):
            done += samples
            if limit is not None and done > limit:
                break
        return done


def reason(error: Exception) -> str:
    """What an exception says, on one line."""
    text = str(getattr(error, "error_string", "") or getattr(error, "strerror", "") or error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
