"""Limits anew for a machine that a detector knows, by windows of its normal sound where it works."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from asd.evaluation.calibration import of_scorers
from asd.evaluation.false_alarms import FalseAlarms
from asd.machine import MachineSection
from asd.scoring.limits import Limits
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training.network import Network

USUAL_BUDGET = "1/day"
"""How many false alarms a machine's people put up with, where they do not say."""


@dataclass(frozen=True)
class Calibrated:
    """What was found of a machine at its place.

    Attributes:
        machine_section: The machine and its section.
        windows: Number of windows of its recordings there.
        before: Limits until now.
        after: Limits from now on.
        expected: False alarms that the recordings let expect.
        was_expected: The same with the limits until now.
        added: Whether the recordings are references from now on.
        hop: Seconds from one decision to the next, by which false alarms are counted.
        recordings: Number of recordings.
        path: The new checkpoint; ``None``: none was written.
    """

    machine_section: MachineSection
    windows: int
    before: Limits
    after: Limits
    expected: FalseAlarms
    was_expected: FalseAlarms
    added: bool
    hop: float
    recordings: int = 1
    path: Path | None = None

    @classmethod
    def of(
        cls, was: SectionScorers, now: SectionScorers, number: int, bank: Bank, added: bool, hop: float
    ) -> Calibrated:
        """What the scorers say that were fitted or limited anew on a bank."""
        known = of_scorers(now, hop).machines[now.names[number]]
        before = was.limits(number)
        return cls(
            now.sections[number], len(bank.group), before, now.limits(number),
            known.expected(), known.expected(limit=before.alarm), added, hop,
        )  # fmt: skip


def recalibrated(
    model: Network,
    plain: SectionScorers,
    number: int,
    bank: Bank,
    hop: float,
    false_alarms: str | float = USUAL_BUDGET,
    add: bool = True,
) -> tuple[SectionScorers, bool]:
    """The scorers of a detector, with limits of one machine by the windows of another place.

    Args:
        model: The detector, which stays as it is.
        plain: Its scorers, which stay, too.
        number: Of the machine and section.
        bank: Windows of its normal sound there.
        hop: Seconds from one decision to the next.
        false_alarms: How many are allowed.
        add: Fit the scorer on the windows as well, each block of them held out where it is scored. A detector of which
            no references are kept is not fitted again.

    Returns:
        The scorers, and whether the windows are references from now on.
    """
    scorers = copy.deepcopy(plain)
    scorers.threshold = scorers.threshold.allowing(false_alarms)
    joined = _joined(scorers, number, bank) if add else None
    if joined is not None:
        fit_anew(model, scorers, number, joined, hop)
        if bank.spectra is not None:
            scorers.normal_clips(number).keep_spectrum(bank.spectra.mean(0))
        return scorers, True
    with torch.no_grad():
        scores = scorers(bank.embeddings.to(scorers.thresholds.device), number).cpu()
    scorers.normal_clips(number).judge_by(scores, bank)
    scorers.set_limits(number, hop)
    return scorers, False


def fit_anew(model: Network, scorers: SectionScorers, number: int, bank: Bank, hop: float) -> None:
    """Fit one of the scorers anew, by a bank; how its normal sound was recorded, and its spectrum, stay as they are.

    It is fitted where the bank lies, and then put where the others are.
    """
    fitted = SectionScorers(model.scorer, scorers.threshold, [scorers.names[number]]).fit(bank, hop)
    fitted.take_spectra(scorers)
    fitted.normal_clips(0).keep_recorded_as(scorers.normal_clips(number))
    scorers.take(number, fitted.to(scorers.thresholds.device), 0)


def _joined(scorers: SectionScorers, number: int, bank: Bank) -> Bank | None:
    """The references of a machine with the windows of another place; ``None``: none is kept, or nothing held out."""
    kept = scorers.normal_clips(number).bank()
    return kept.with_more(bank, alone=True) if kept is not None and len(bank.group.unique()) > 1 else None
