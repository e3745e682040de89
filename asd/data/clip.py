"""The nouns of the data: a clip, its kind, and a batch of clips."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asd.machine import MachineSection
from asd.utils.text import as_text, shown

if TYPE_CHECKING:
    from torch import Tensor


class Split(StrEnum):
    """The folder that a clip lies in."""

    TRAIN = "train"
    TEST = "test"
    SUPPLEMENTAL = "supplemental"


class Domain(StrEnum):
    """Source: the conditions most training clips were recorded in. Target: the shifted ones."""

    SOURCE = "source"
    TARGET = "target"


class Condition(StrEnum):
    """The state of the machine."""

    NORMAL = "normal"
    ANOMALY = "anomaly"


class Kind(StrEnum):
    """What can be heard: the machine in its noise, the machine alone, or the background noise alone."""

    MACHINE = "machine"
    CLEAN = "clean"
    NOISE = "noise"


class Member(NamedTuple):
    """Where a file lies in an uncompressed tar archive.

    Attributes:
        archive: Path or URL of the archive.
        offset: First byte of the file's content.
        size: Bytes of the content.
        sample_rate: Hz of the audio; 0 where it is not known without reading.
        channels: Number of channels.
        frames: Samples per channel.
    """

    archive: str
    offset: int
    size: int
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0


class Sound(NamedTuple):
    """Where samples lie: an audio file or a part of one.

    Attributes:
        path: The file; of a member of an archive, its name there.
        start: Where the part begins, in seconds.
        seconds: Length of the part; ``None``: to the end of the file.
        member: Where the file lies in an archive; ``None``: it is a file of its own.
        content: What the file holds, where that is in memory; `path` is a name for messages then.
        channel: The channel that is meant, from 0; ``None``: what is asked for of all sounds.
    """

    path: Path
    start: float = 0.0
    seconds: float | None = None
    member: Member | None = None
    content: bytes | None = None
    channel: int | None = None

    def __str__(self) -> str:
        """File and time, for messages."""
        place = shown(str(self.path) if self.member is None else f"{self.member.archive}, {self.path}")
        return place if self.start == 0 else f"{place} at {self.start:g} s"


def without_backslash(name: str) -> str:
    """The name with its backslashes escaped: whoever reads score files takes what stands before one for a folder."""
    return name.replace("\\", r"\x5c")


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, or a part of one, and all that is known of it.

    Attributes:
        path: The audio file; of a member of an archive, its name there.
        machine: Machine type, the name of its folder.
        section: Two digits, as in the file name.
        split: The folder it lies in.
        domain: ``None`` where the name does not say (evaluation test clips).
        condition: ``None`` where the name does not say.
        attributes: The attribute string, opaque; empty where hidden or absent.
        kind: What can be heard in it.
        group: Clips cut from one recording share a group; empty: the clip is a recording of its own.
        name: What the clip is called in scores; empty: as the file.
        start: Where in the file it begins, in seconds.
        seconds: Its length; ``None``: to the end of the file.
        member: Where the file lies in an archive; ``None``: it is a file of its own.
        calibration: Never trained on: thresholds are set by it.
        channel: The channel that is meant, from 0; ``None``: what is asked for of all clips.
    """

    path: Path
    machine: str
    section: str = "00"
    split: Split = Split.TRAIN
    domain: Domain | None = None
    condition: Condition | None = None
    attributes: str = ""
    kind: Kind = Kind.MACHINE
    group: str = ""
    name: str = ""
    start: float = 0.0
    seconds: float | None = None
    member: Member | None = None
    calibration: bool = False
    channel: int | None = None

    @property
    def title(self) -> str:
        """What the clip is called in score files and tables; valid Unicode, whatever the file's name is."""
        return as_text(self.name or without_backslash(self.path.name))

    @property
    def sound(self) -> Sound:
        """Where its samples lie."""
        return Sound(self.path, self.start, self.seconds, self.member, channel=self.channel)

    @property
    def machine_section(self) -> MachineSection:
        """The machine and section, whose clips are scored together."""
        return MachineSection(self.machine, self.section)


class ClipBatch(NamedTuple):
    """What a loader yields. No file name is in it: labelled test names give the answer away.

    Attributes:
        waveform: ``(B, T)`` float32 in [-1, 1].
        label: ``(B,)`` int64 auxiliary class; -1 where the clip has none (test clips).
        index: ``(B,)`` int64 row of the clip in its data set: tells the repeats that a distributed sampler adds.
    """

    waveform: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # a tuple's method of that name is not used


class Encoded(NamedTuple):
    """Vectors that an encoder made of clips before.

    Attributes:
        width: Of a vector.
        probe: What the encoder makes of a sound that is always the same, see `asd.training.encoded`.
        place: Where the vectors lie, for messages.
    """

    width: int
    probe: tuple[float, ...]
    place: str
