"""Limits anew for a machine that a detector knows, from normal recordings of the place where it works."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from asd.data.audio.usual_recording import usual_recording
from asd.data.clip import Sound
from asd.data.layouts.walk import recordings_in
from asd.evaluation.calibration import of_scorers
from asd.evaluation.false_alarms import FalseAlarms
from asd.inference.detector import Detector
from asd.inference.enrolment import bank_of
from asd.machine import MachineSection
from asd.run_folder import checkpoint_at
from asd.scoring.limits import Limits
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training import checkpoints
from asd.utils.text import as_text

USUAL_BUDGET = "1/day"
"""How many false alarms a machine's people put up with, where they do not say."""


@dataclass(frozen=True)
class Calibrated:
    """What was found of a machine at its place.

    Attributes:
        path: The new checkpoint.
        machine_section: The machine and its section.
        recordings: Number of recordings.
        windows: Number of windows in them.
        before: Limits until now.
        after: Limits from now on.
        expected: False alarms that the recordings let expect.
        was_expected: The same with the limits until now.
        added: Whether the recordings are references from now on.
        hop: Seconds from one decision to the next, by which false alarms are counted.
    """

    path: Path
    machine_section: MachineSection
    recordings: int
    windows: int
    before: Limits
    after: Limits
    expected: FalseAlarms
    was_expected: FalseAlarms
    added: bool
    hop: float


def calibrate(
    checkpoint: Path | str,
    folder: Path | str,
    machine: str | None,
    out: Path | str,
    false_alarms: str | float = USUAL_BUDGET,
    add: bool = True,
    hop: float | None = None,
) -> Calibrated:
    """Set the limits of a machine by its normal recordings at another place or time, and write a checkpoint with them.

    Args:
        checkpoint: A checkpoint of `asd fit`, `enroll` or of this, or the folder of a run.
        folder: Normal recordings, made as those that will be judged.
        machine: Its name; ``None``: the only one.
        out: The checkpoint to write.
        false_alarms: How many are allowed, see `asd.scoring.budget.Budget`.
        add: Take the recordings into the references as well: what sounds like them is normal from now on.
        hop: Seconds from one window to the next; ``None``: the length of a window.

    Raises:
        UserError: An unknown machine, no recordings or such that cannot be used, or a checkpoint that cannot be
            written.
    """
    source = checkpoint_at(checkpoint)
    detector = Detector.load(source, hop=hop)
    number = detector.section_index(machine)
    paths = list(recordings_in([folder]))
    bank = bank_of(detector, paths)
    scorers = recalibrated(detector, number, bank, false_alarms, add)
    usual = usual_recording([Sound(path) for path in paths], detector.cut.channel)
    if usual is not None:  # what comes from now on is recorded as these are
        scorers.normal_clips(number).keep_recorded(usual.to_json())
    before, after = detector.model.sections.limits(number), scorers.limits(number)
    known = of_scorers(scorers, detector.cut.hop).machines[scorers.names[number]]
    added = add and _joined(detector.model.sections, number, bank) is not None
    path = Path(out)
    done = {
        "what": "calibrate",
        "machine": scorers.names[number],
        "from": as_text(str(folder)),
        "recordings": len(paths),
        "windows": len(bank.group),
        "false_alarms": str(false_alarms),
        "added": added,
        "before": list(before),
        "after": list(after),
    }
    rewrite(source, path, scorers, done)
    return Calibrated(
        path, scorers.sections[number], len(paths), len(bank.group), before, after,
        known.expected(), known.expected(limit=before.alarm), added, detector.cut.hop,
    )  # fmt: skip


def rewrite(checkpoint: Path | str, out: Path, scorers: SectionScorers, done: dict[str, Any]) -> None:
    """Write a checkpoint with other scorers and limits; what was done, and when, joins its history.

    Raises:
        UserError: The checkpoint cannot be read, or the new one not be written.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    content = checkpoints.load(checkpoint_at(checkpoint))
    content = checkpoints.with_budget(content, done["false_alarms"])
    checkpoints.save(checkpoints.with_sections(content, scorers, {"when": when, **done}), out)


def recalibrated(
    detector: Detector, number: int, bank: Bank, false_alarms: str | float = USUAL_BUDGET, add: bool = True
) -> SectionScorers:
    """The scorers of a detector, with limits of one machine by the windows of another place.

    Args:
        detector: The detector, which stays as it is.
        number: Of the machine and section.
        bank: Windows of its normal sound there.
        false_alarms: How many are allowed.
        add: Fit the scorer on the windows as well, each block of them held out where it is scored. A detector of which
            no references are kept is not fitted again.
    """
    scorers = copy.deepcopy(detector.model.sections)
    scorers.threshold = scorers.threshold.allowing(false_alarms)
    hop = detector.cut.hop
    joined = _joined(scorers, number, bank) if add else None
    if joined is not None:
        fitted = SectionScorers(detector.model.scorer, scorers.threshold, [scorers.names[number]]).fit(joined, hop)
        fitted.normal_clips(0).keep_recorded_as(scorers.normal_clips(number))
        if bank.spectra is not None:
            fitted.normal_clips(0).spectrum = bank.spectra.mean(0)
        else:
            fitted.take_spectra(scorers)
        scorers.take(number, fitted, 0)
        return scorers
    with torch.no_grad():
        scores = scorers(bank.embeddings.to(scorers.thresholds.device), number).cpu()
    scorers.normal_clips(number).judge_by(scores, bank)
    scorers.set_limits(number, hop)
    return scorers


def _joined(scorers: SectionScorers, number: int, bank: Bank) -> Bank | None:
    """The references of a machine with the windows of another place; ``None``: none is kept, or nothing held out."""
    kept = scorers.normal_clips(number).bank()
    return kept.with_more(bank, alone=True) if kept is not None and len(bank.group.unique()) > 1 else None
