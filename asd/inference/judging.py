"""What a detector judges by: scorers and limits, as they are kept, as a budget asks, and with what people said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from asd.errors import Notice
from asd.inference import feedback
from asd.inference.recalibration import Calibrated, recalibrated
from asd.inference.result import Usual
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training.network import Network


class Judging:
    """Sets the scorers of a detector.

    What people said is applied to the scorers as they were without it, whenever it or the budget changes, so that the
    same words and the same budget give the same detector in any order.

    Args:
        model: The detector; its `sections` are set.

    Attributes:
        plain: The scorers without what people said.
        usual: By the number of the section, what its scores are compared with.
    """

    def __init__(self, model: Network) -> None:
        self.model = model
        self.plain = model.sections
        self._said: list[feedback.Said] = []
        self._set(self.plain)

    @torch.inference_mode()
    def score(self, embeddings: Tensor, section: int | Sequence[int]) -> list[float]:
        """Scores of embeddings ``(N, E)`` against the section of that number, or each against its own."""
        rows = embeddings.to(self.model.device)
        which = section if isinstance(section, int) else torch.as_tensor(section, device=rows.device)
        scores: list[float] = self.model.sections(rows, which).tolist()
        return scores

    def allow(self, false_alarms: str | float, hop: float) -> None:
        """Set all limits anew, to allow so many false alarms with a decision every `hop` seconds."""
        self.plain.allow(false_alarms, hop)
        self.hear(self._said, hop)

    def calibrate(
        self, number: int, bank: Bank, hop: float, false_alarms: str | float, add: bool, recorded: str = ""
    ) -> Calibrated:
        """Judge a machine by the windows of the place where it works, see `recalibrated`.

        Args:
            number: Of the machine and section.
            bank: Windows of its normal sound there.
            hop: Seconds from one decision to the next.
            false_alarms: How many are allowed.
            add: Make them references as well.
            recorded: How they were recorded, as `asd.data.audio.usual_recording` writes it; empty: as before.
        """
        was = self.model.sections
        self.plain, added = recalibrated(self.model, self.plain, number, bank, hop, false_alarms, add)
        if recorded:
            self.plain.normal_clips(number).keep_recorded(recorded)
        self.hear(self._said, hop)
        return Calibrated.of(was, self.model.sections, number, bank, added, hop)

    def settle(self) -> None:
        """What was said so far is part of the scorers from now on, and cannot be taken back."""
        self.plain, self._said = self.model.sections, []

    def hear(self, said: Sequence[feedback.Said], hop: float) -> None:
        """Take all that people said; a `Notice` tells what could not be heeded."""
        self._said = list(said)
        sections, told = feedback.applied(self.model, self.plain, said, hop) if said else (self.plain, [])
        self._set(sections)
        for line in told:
            warnings.warn(line, Notice, stacklevel=3)

    def _set(self, sections: SectionScorers) -> None:
        self.model.sections = sections
        self.usual = [Usual.of(sections, number) for number in range(len(sections.names))]
