"""The nouns of the data: a clip, its kind, and a batch of clips."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

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


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording and all that is known of it.

    Attributes:
        path: The audio file.
        machine: Machine type, the name of its folder.
        section: Two digits, as in the file name.
        split: The folder it lies in.
        domain: ``None`` where the name does not say (evaluation test clips).
        condition: ``None`` where the name does not say.
        attributes: The attribute string, opaque; empty where hidden or absent.
        kind: What can be heard in it.
        group: Clips cut from one recording share a group; empty: the clip is a recording of its own.
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

    @property
    def population(self) -> str:
        """The machine and section, whose clips are scored together."""
        return f"{self.machine}_section_{self.section}"


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
