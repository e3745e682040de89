"""An upload as windows, a batch at a time: nothing is decoded before its header says that it may be."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import audioread
import soundfile
from torch import Tensor

from asd.data.audio import AudioError, Header, opened
from asd.data.clip import Sound
from asd.deploy.windows import BATCH, LONGEST_AT_ONCE, Cut, windows_of
from asd.errors import UserError

_MOST_SAMPLES = 60_000_000
"""Of all channels, decoded at once: as many as five minutes at 192 kHz, or at 48 kHz of four channels."""

_RATES = (1000, 400_000)
# What libsndfile does not read goes to ffmpeg by these first bytes alone: it would follow the addresses in a playlist.
_FOREIGN = ((4, b"ftyp"), (0, b"\x30\x26\xb2\x75"), (0, b"#!AMR"), (0, b"\xff\xf1"), (0, b"\xff\xf9"))


class TooLongError(UserError):
    """A recording that is longer than the service takes, or of more channels than it can hold."""


class Recording:
    """A recording that was sent.

    Args:
        sound: The file, without a suffix; a second one may be written beside it.
        cut: How it becomes windows.
        longest: Seconds that are taken.

    Attributes:
        seconds: Its length.
        samples: Of all channels, or at the rate of the windows, whichever are more.

    Raises:
        AudioError: It cannot be used.
        TooLongError: It is too long.
    """

    def __init__(self, sound: Sound, cut: Cut, longest: float) -> None:
        if sound.content is None and is_foreign(_head(sound.path)):
            sound = Sound(_as_wav(sound.path, longest))
        file = opened(sound, cut.channel)
        header = Header(file.samplerate, file.channels, file.frames)
        rate, channels = header.sample_rate, header.channels
        if not _RATES[0] <= rate <= _RATES[1]:
            raise AudioError(f"{sound}: its rate is {rate} Hz; give a recording of 1 to 400 kHz")
        self.seconds = header.frames / rate
        self.samples = max(header.frames * channels, header.samples_at(cut.sample_rate))
        if self.seconds > longest:
            raise _too_long(sound.path, f"lasts {self.seconds:.0f} s", longest)
        if min(self.seconds, LONGEST_AT_ONCE) * rate * channels > _MOST_SAMPLES:
            raise TooLongError(
                f"{sound}: {self.seconds:.0f} s at {rate} Hz of {channels} channels; send fewer channels"
            )
        self._windows = windows_of(sound, cut, file)

    def take(self) -> list[tuple[float, Tensor]]:
        """Start in seconds and samples ``(T,)`` of the next windows, a batch at most; none at the end.

        Raises:
            AudioError: It cannot be decoded, or holds nothing that can be scored.
        """
        return list(islice(self._windows, BATCH))


def is_foreign(head: bytes) -> bool:
    """Whether ffmpeg decodes what begins so; it needs a file for that."""
    return any(head[at : at + len(mark)] == mark for at, mark in _FOREIGN)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _as_wav(path: Path, longest: float) -> Path:
    """The same sound as 16-bit WAV, written as it is decoded: its length is bounded, whatever the header says."""
    wav, frames = path.with_suffix(".wav"), 0
    try:
        with audioread.audio_open(str(path)) as sound:
            rate, channels = sound.samplerate, sound.channels
            with soundfile.SoundFile(wav, "w", rate, channels, "PCM_16") as out:
                for block in sound:
                    frames += len(block) // (2 * channels)
                    if frames > longest * rate:
                        raise _too_long(path, "goes on", longest)
                    out.buffer_write(block, "int16")
    except audioread.NoBackendError as error:
        raise AudioError(f"{path}: cannot be read: broken, or the service has no ffmpeg; send WAV or FLAC") from error
    except (audioread.DecodeError, EOFError, ValueError) as error:
        raise AudioError(f"{path}: decoding stopped ({type(error).__name__}); send WAV or FLAC") from error
    return wav


def _too_long(path: Path, what: str, longest: float) -> TooLongError:
    return TooLongError(f"{path}: {what}, and {longest:.0f} s are taken; cut it")
