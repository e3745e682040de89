"""A new machine for a trained detector, from recordings of its normal sound alone: nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asd.data.audio.usual_recording import usual_recording
from asd.data.clip import Sound
from asd.data.layouts.recordings import LEAST_RECORDINGS
from asd.data.layouts.walk import recordings_in
from asd.errors import UserError
from asd.evaluation.calibration import of_scorers
from asd.evaluation.false_alarms import FalseAlarms
from asd.evaluation.metrics import area_under_roc
from asd.inference.detector import Detector
from asd.inference.hearing import bank_of
from asd.inference.rewriting import scorers_to_write
from asd.machine import MachineSection
from asd.run_folder import checkpoint_at
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training import checkpoints
from asd.utils.text import machine_word

_TOLD_APART = 0.75
"""Below it, midway between chance and certainty, what the encoder has learned is of little use for the machine."""


@dataclass(frozen=True)
class Enrolled:
    """What was learned of a machine.

    Attributes:
        path: The new checkpoint.
        machine_section: The machine and its section.
        recordings: Number of recordings.
        windows: Number of windows in them.
        threshold: Scores above it are anomalous.
        told_apart: Part of the pairs of a normal clip of another machine and a recording of this one, held out, in
            which the first scores higher, as it should; a half is chance, nan not known.
        warnings: What the user should know, a sentence each.
        expected: False alarms that the recordings let expect.
        hop: Seconds from one window to the next, by which false alarms are counted.
    """

    path: Path
    machine_section: MachineSection
    recordings: int
    windows: int
    threshold: float
    told_apart: float
    warnings: tuple[str, ...]
    expected: FalseAlarms
    hop: float


def enroll(
    checkpoint: Path | str,
    machine: str,
    folder: Path | str,
    out: Path | str,
    hop: float | None = None,
    replace: bool = False,
    false_alarms: str | float | None = None,
) -> Enrolled:
    """Fit a scorer and a threshold for a machine on its normal recordings, and write a checkpoint with it.

    The threshold comes from recordings held out in turn. The new checkpoint scores; it cannot be trained on, because no
    data set holds that machine.

    Args:
        checkpoint: A checkpoint of `asd fit`, or of `enroll`, or the folder of a run.
        machine: Its name.
        folder: Its normal recordings.
        out: The checkpoint to write.
        hop: Seconds from one window to the next; ``None``: half a window.
        replace: Learn a machine anew that the detector knows already.
        false_alarms: How many are allowed, see `asd.scoring.budget.Budget`; ``None``: as the checkpoint's threshold has
            it.

    Raises:
        UserError: A name that is taken or cannot be used, no recordings, recordings that cannot be used, or a
            checkpoint that cannot be written.
    """
    machine = machine_word(machine)
    if not machine or "/" in machine or MachineSection.parse(machine).section:
        raise UserError(f"{machine!r} cannot be a machine's name; give one without '/' and '_section_'")
    source = checkpoint_at(checkpoint)
    detector = Detector.load(source)
    detector = detector.with_hop(detector.cut.seconds / 2 if hop is None else hop)
    section = MachineSection(machine, "00")
    name = str(section)
    if name in detector.machines and not replace:
        raise UserError(f"the detector knows {machine} already; choose another name, or learn it anew with --replace")
    if false_alarms is not None:
        detector.model.threshold = detector.model.threshold.allowing(false_alarms)
    paths = list(recordings_in([folder]))
    sounds = [Sound(path) for path in paths]
    bank = bank_of(detector.embed, detector.cut, sounds)
    groups = bank.group
    path = Path(out)
    scorers = with_machine(scorers_to_write(detector, source, path), detector, name, bank)
    usual = usual_recording(sounds, detector.cut.channel)
    if usual is not None:
        scorers.normal_clips(scorers.index(section)).keep_recorded(usual.to_json())
    content = checkpoints.load(source)
    if false_alarms is not None:
        content = checkpoints.with_budget(content, false_alarms)
    checkpoints.save(checkpoints.with_sections(content, scorers), path)
    number = scorers.index(section)
    apart = told_apart(scorers, number) if len(groups.unique()) > 1 else math.nan
    warned = [*_warnings(len(paths), groups), *_doubts(detector, apart, machine)]
    known = of_scorers(scorers, detector.cut.hop).machines[name]
    hop = detector.cut.hop
    return Enrolled(
        path, section, len(paths), len(groups), known.threshold, apart, tuple(warned), known.expected(), hop
    )


def with_machine(scorers: SectionScorers, detector: Detector, name: str, bank: Bank) -> SectionScorers:
    """The scorers with those of one more machine, or another one in the place of that name; the others as they are."""
    model = detector.model
    alone = SectionScorers(model.scorer, model.threshold, [name]).fit(bank, detector.cut.hop)
    grown = SectionScorers(model.scorer, model.threshold, [*scorers.names, name])
    for number, one in enumerate(grown.names):
        origin, at = (alone, 0) if one == name else (scorers, scorers.names.index(one))
        grown.take(number, origin, at)
    return grown


def told_apart(scorers: SectionScorers, number: int) -> float:
    """How well a machine's scorer tells its normal sound, held out, from that of the others; see `Enrolled`.

    No fault is known of a machine that was just enrolled. Where not even other machines sound wrong to its scorer,
    faults will not either.
    """
    others = [scorers.normal_clips(one).embeddings for one in range(len(scorers.names)) if one != number]
    own = scorers.normal_clips(number).apart
    kept = [one for one in others if len(one)]
    if not kept or not len(own):
        return math.nan
    with torch.no_grad():
        foreign = scorers(torch.cat(kept).float().to(own.device), number)
    scores = torch.cat([own.float(), foreign]).cpu().numpy()
    return area_under_roc(torch.arange(len(scores)).numpy() >= len(own), scores)


def _doubts(detector: Detector, apart: float, machine: str) -> Iterator[str]:
    """Why the detector may be of no use for the machine."""
    remedy = (
        f"train on its recordings instead, in PLACE/{machine}/normal: `asd fit --config my_machine --data.root PLACE`"
    )
    if not detector.model.head.classifies:
        yield (
            f"{type(detector.model.encoder).__name__} has learned the sound of its own machines alone; whether it can "
            f"judge another one, nothing tells; {remedy}"
        )
    elif apart < _TOLD_APART:
        yield (
            f"clips of other machines score above held-out ones of this in {100 * apart:.0f} % of the pairs alone, "
            f"where 50 % is chance: the detector hardly knows its sound; {remedy}"
        )


def _warnings(recordings: int, groups: Tensor) -> list[str]:
    if len(groups.unique()) == 1:
        return ["a single window: nothing could be held out, so the threshold is too low; give longer recordings"]
    if recordings < LEAST_RECORDINGS:
        counted = f"{recordings} recording{'s' * (recordings > 1)}, {len(groups)} windows"
        return [f"{counted}: the threshold is rough; give {LEAST_RECORDINGS} or more, of different days and loads"]
    return []
