"""The clips worth listening to: anomalies scored lowest, normal clips scored highest."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asd import plots
from asd.data.audio.decoding import AudioError, read
from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.evaluation.calibration import Calibrations
from asd.evaluation.clip_scores import ClipScore, named_sections
from asd.inference import Detector, Explanation

_LONGEST = 30.0


@dataclass(frozen=True)
class Chosen:
    """A clip to show.

    Attributes:
        machine: As results name it.
        kind: ``miss``, ``false alarm`` or, without labels, ``suspect``.
        rank: From 0, the worst of its kind and machine.
        row: The clip and its score.
        threshold: Of its machine; nan where not known.
        percentile: Percent of the normal training clips, held out, that score no higher; nan where not known.
    """

    machine: str
    kind: str
    rank: int
    row: ClipScore
    threshold: float
    percentile: float


def choose(rows: list[ClipScore], known: Calibrations | None, each: int) -> list[Chosen]:
    """The clips of each machine, the worst of all machines first."""
    chosen = []
    for machine, clips in named_sections(rows).items():
        own = None if known is None else known.of(machine)
        normal = np.array([] if own is None else [*own.source, *own.target])
        threshold = math.nan if own is None else own.threshold
        for kind, some in _by_kind(clips).items():
            for rank, row in enumerate(some[:each]):
                percentile = 100 * float((normal <= row.score).mean()) if len(normal) else math.nan
                chosen.append(Chosen(machine, kind, rank, row, threshold, percentile))
    return sorted(chosen, key=lambda one: one.rank)


def _by_kind(clips: list[ClipScore]) -> dict[str, list[ClipScore]]:
    ordered = sorted(clips, key=lambda row: row.score)
    anomalies = [row for row in ordered if row.condition == "anomaly"]
    normal = [row for row in reversed(ordered) if row.condition == "normal"]
    if not anomalies and not normal:
        return {"suspect": ordered[::-1]}
    return {"miss": anomalies, "false alarm": normal}


@dataclass(frozen=True)
class Heard:
    """What a clip sounds like, and why it scores as it does.

    Attributes:
        audio: As a data URI.
        picture: The explained spectrogram as a data URI.
        explanation: The numbers.
    """

    audio: str
    picture: str
    explanation: Explanation


class Listener:
    """Finds the sound of clips, and explains it.

    Args:
        detector: The detector of the run.
        data: The data it was tested on.
        folder: For pictures that are on their way into the page.
    """

    def __init__(self, detector: Detector, data: ClipDataModule, folder: Path) -> None:
        # It is given what it would hear of each clip, which has one channel.
        self.channel, self.detector = detector.cut.channel, copy(detector)
        self.detector.cut = replace(detector.cut, channel=None)
        self.folder = folder
        self._clips: dict[tuple[str, str, str], Clip] = {
            (clip.machine, clip.section, clip.title): clip for clip in data.query_clips
        }

    def hear(self, row: ClipScore) -> Heard | None:
        """The clip of a score; ``None`` where it is not in the data, or cannot be read any more."""
        clip = self._clips.get((row.machine, row.section, row.name))
        if clip is None:
            return None
        cut = self.detector.cut
        try:
            samples = read(clip.sound, cut.sample_rate, self.channel)
            found = self.detector.explain(samples, cut.sample_rate, str(clip.machine_section))
        except AudioError:
            return None
        path = plots.explanation(found, self.folder / "explanation.png")
        sound = _ogg(samples[: round(_LONGEST * cut.sample_rate)], cut.sample_rate)
        return Heard(data_uri(sound, "audio/ogg"), data_uri(path.read_bytes(), "image/png"), found)


def data_uri(content: bytes, kind: str) -> str:
    """What a page can hold in the place of a file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _ogg(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, 1, "VORBIS", format="OGG") as file:
        # A second at a time: the encoder takes its memory for a block from the stack.
        for part in _blocks(samples, sample_rate):
            file.write(part)
    return buffer.getvalue()


def _blocks(samples: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
