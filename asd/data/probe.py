"""What the headers of many files say: which cannot be used, and how long the others are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asd.data.audio import band as bands
from asd.data.audio.channels import Channel
from asd.data.audio.decoding import AudioError, decode, read_header
from asd.data.audio.disk_cache import DiskCache
from asd.data.audio.ram_cache import WaveformCache
from asd.data.audio.usual_recording import UsualRecording, shared_band, usual_recording
from asd.data.clip import Clip, Kind, Sound, Split
from asd.data.dataset import LAST_WINDOW, Cache
from asd.errors import UserError
from asd.machine import MachineSection, sections_of
from asd.utils.log import logger, notice


class Headers:
    """The headers of clips that were looked at.

    Attributes:
        rates: Sample rate of each sound in Hz.
        lengths: The most samples that each sound has at the rate that was asked for.
    """

    def __init__(self) -> None:
        self.rates: dict[Sound, int] = {}
        self.lengths: dict[Sound, int] = {}
        self._said: list[int] = []
        self._recorded: dict[MachineSection, UsualRecording] | None = None
        self._band: tuple[float | None] | None = None

    def look(
        self, clips: Iterable[Clip], sample_rate: int, channel: Channel, decoding: bool = False
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
                self.rates[sound] = header.sample_rate
                self.lengths[sound] = header.samples_at(sample_rate)
                if decoding:
                    decode(sound, sample_rate, channel)
            except AudioError as error:
                faults[sound] = str(error)
        return faults

    def say_resampled(self, sample_rate: int) -> None:
        """Say which of the rates that were seen are not that of the encoder, once."""
        others = sorted({*self.rates.values()} - {sample_rate})
        if others and not self._said:
            self._said = others
            given = " and ".join(map(str, others))
            logger.info(f"clips of {given} Hz are resampled to the {sample_rate} Hz that the encoder takes")

    def recorded(self, clips: Sequence[Clip], channel: Channel) -> dict[MachineSection, UsualRecording]:
        """How the clips of each machine and section were recorded; some of them are measured, once.

        Raises:
            AudioError: One cannot be used.
        """
        if self._recorded is None:
            self._recorded = {}
            for section in sections_of(clips):
                sounds = [clip.sound for clip in clips if clip.machine_section == section]
                usual = usual_recording(sounds, channel, self.rates.get)
                if usual is not None:
                    self._recorded[section] = usual
        return self._recorded

    def band(
        self, asked: float | str | None, clips: Sequence[Clip], sample_rate: int, channel: Channel
    ) -> float | None:
        """Hz of bandwidth as asked for, or ``shared`` by the clips, which are measured once; ``None``: no limit.

        Raises:
            AudioError: One cannot be used.
        """
        if not isinstance(asked, str):
            return asked
        if self._band is None:
            self._band = (self._shared_band(clips, sample_rate, channel),)
        return self._band[0]

    def _shared_band(self, clips: Sequence[Clip], sample_rate: int, channel: Channel) -> float | None:
        every = list(self.recorded([clip for clip in clips if clip.kind == Kind.MACHINE], channel).values())
        others = [clip for clip in clips if clip.kind != Kind.MACHINE]
        for machine in sorted({clip.machine for clip in others}):
            beside = usual_recording([one.sound for one in others if one.machine == machine], channel, self.rates.get)
            every += [beside] if beside is not None else []
        band = shared_band(every, sample_rate)
        if band is not None:
            widest = max(one.bandwidth[1] for one in every)
            notice(
                f"training recordings have {band / 1000:.2g} to {widest / 1000:.2g} kHz of bandwidth: what is above "
                f"{bands.stop(band) / 1000:.2g} kHz is left out of all (data.band); `asd data check` names the narrow"
            )
        return band

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
    folder: Path, lengths: Sequence[dict[Sound, int]], sample_rate: int, channel: Channel, band: float | None = None
) -> dict[Split, Cache]:
    """Caches of training and test clips in files on disk."""
    names = (Split.TRAIN, Split.TEST)
    return {
        name: DiskCache.built(folder, name, some, sample_rate, channel, band)
        for name, some in zip(names, lengths, strict=True)
        if some
    }


def ram_caches(gigabytes: float, lengths: Sequence[dict[Sound, int]], shared: bool) -> dict[Split, Cache]:
    """One cache in RAM for training and test clips; training clips are served first."""
    train, test = lengths
    cache = WaveformCache(train | test, gigabytes, shared)
    return {Split.TRAIN: cache, Split.TEST: cache}
