"""What the headers of many files say: which cannot be used, and how long the others are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asd.data.audio.decoding import AudioError, decode, read_header
from asd.data.audio.disk_cache import DiskCache
from asd.data.audio.ram_cache import WaveformCache
from asd.data.clip import Clip, Sound, Split
from asd.data.dataset import LAST_WINDOW, Cache
from asd.errors import UserError
from asd.utils.log import notice


class Headers:
    """The headers of clips that were looked at.

    Attributes:
        rates: Different sample rates in Hz.
        lengths: The most samples that each sound has at the rate that was asked for.
    """

    def __init__(self) -> None:
        self.rates: set[int] = set()
        self.lengths: dict[Sound, int] = {}

    def look(
        self, clips: Iterable[Clip], sample_rate: int, channel: int | None, decoding: bool = False
    ) -> dict[Sound, str]:
        """Look at clips; returns what is wrong with those that cannot be used.

        Args:
            clips: The clips.
            sample_rate: Hz that lengths are wanted at.
            channel: The channel that must be there.
            decoding: Decode every clip, which finds what a header does not tell.
        """
        faults = {}
        for sound in (clip.sound for clip in clips):
            try:
                header = read_header(sound, channel)
                self.rates.add(header.sample_rate)
                self.lengths[sound] = header.samples_at(sample_rate)
                if decoding:
                    decode(sound, sample_rate, channel)
            except AudioError as error:
                faults[sound] = str(error)
        return faults

    def say_longer(self, clips: Sequence[Clip], seconds: float, sample_rate: int) -> None:
        """Say how many test clips that were looked at are several windows for a detector, of which a test sees one."""
        several = (1 + LAST_WINDOW) * seconds * sample_rate
        count = sum(self.lengths.get(clip.sound, 0) >= several for clip in clips)
        if count:
            notice(
                f"{count} of {len(clips)} test clips are half as long again as data.seconds, or longer: a test scores "
                f"the first {seconds:g} s of them, `asd score` all of their windows; with a larger data.seconds both "
                "hear more"
            )

    def lengths_of(self, clips: Iterable[Clip], at_most: int | None = None) -> dict[Sound, int]:
        """Samples of the clips that were looked at, as many as are asked for of each."""
        found = {clip.sound: self.lengths[clip.sound] for clip in clips if clip.sound in self.lengths}
        return found if at_most is None else {sound: min(at_most, length) for sound, length in found.items()}


def stop_at(faults: dict[Sound, str], remedy: str = "") -> None:
    """Raise `UserError` with the first of the faults, if there are any."""
    if faults:
        count = f"{len(faults)} audio files cannot be used, the first is " if len(faults) > 1 else ""
        raise UserError(f"{count}{next(iter(faults.values()))}{remedy}")


def disk_caches(
    folder: Path, lengths: Sequence[dict[Sound, int]], sample_rate: int, channel: int | None
) -> dict[Split, Cache]:
    """Caches of training and test clips in files on disk."""
    names = (Split.TRAIN, Split.TEST)
    return {
        name: DiskCache.built(folder, name, some, sample_rate, channel)
        for name, some in zip(names, lengths, strict=True)
        if some
    }


def ram_caches(gigabytes: float, lengths: Sequence[dict[Sound, int]], shared: bool) -> dict[Split, Cache]:
    """One cache in RAM for training and test clips; training clips are served first."""
    train, test = lengths
    cache = WaveformCache(train | test, gigabytes, shared)
    return {Split.TRAIN: cache, Split.TEST: cache}
