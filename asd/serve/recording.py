"""An upload as windows, a batch at a time: nothing is decoded before its header says that it may be."""

from __future__ import annotations

import errno
from itertools import islice

from torch import Tensor

from asd.data.audio.decoding import AudioError, AudioFile, Header, opened
from asd.data.audio.recorded import Meter
from asd.data.clip import Sound
from asd.errors import UserError
from asd.inference.windows import BATCH, LONGEST_AT_ONCE, MOST_AT_ONCE, Cut, windows_of

_RATES = (1000, 400_000)


class TooLongError(UserError):
    """A recording that is longer than the service takes, or of more channels than it can hold."""


class Recording:
    """A recording that was sent.

    Args:
        sound: The file.
        cut: How it becomes windows.
        longest: Seconds that are taken.

    Attributes:
        seconds: Its length.
        samples: Of all channels, or at the rate of the windows, whichever are more.
        left_out: Where windows begin in which nothing can be heard.
        meter: Knows how it was recorded, once all windows were taken.

    Raises:
        AudioError: It cannot be used.
        TooLongError: It is too long.
    """

    def __init__(self, sound: Sound, cut: Cut, longest: float) -> None:
        file = _opened(sound, cut, longest)
        header = Header(file.samplerate, file.channels, file.frames)
        rate, channels = header.sample_rate, header.channels
        self.seconds = header.frames / rate
        self.samples = max(header.frames * channels, header.samples_at(cut.sample_rate))
        self.left_out: list[float] = []
        if not _RATES[0] <= rate <= _RATES[1]:
            raise AudioError(f"{sound}: its rate is {rate} Hz; give a recording of 1 to 400 kHz")
        if self.seconds > longest:
            what = "goes on" if file.goes_on else f"lasts {self.seconds:.0f} s"
            raise TooLongError(f"{sound}: {what}, and {longest:.0f} s are taken; cut it")
        if min(self.seconds, LONGEST_AT_ONCE) * rate * channels > MOST_AT_ONCE:
            raise TooLongError(
                f"{sound}: {self.seconds:.0f} s at {rate} Hz of {channels} channels; send fewer channels"
            )
        self.meter = Meter()
        self._windows = windows_of(sound, cut, file, lambda start, _: self.left_out.append(start), self.meter)

    def take(self) -> list[tuple[float, Tensor]]:
        """Start in seconds and samples ``(T,)`` of the next windows, a batch at most; none at the end.

        Raises:
            AudioError: It cannot be decoded, or holds nothing that can be scored.
        """
        return list(islice(self._windows, BATCH))


def _opened(sound: Sound, cut: Cut, longest: float) -> AudioFile:
    try:
        return opened(sound, cut.channel, at_most=longest)
    except AudioError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise cause from None
        raise
