"""What a detector judges by: scorers and limits, as they are kept, as a budget asks, and with what people said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from asd.errors import Notice
from asd.inference import feedback
from asd.inference.result import Usual
from asd.scoring.sections import SectionScorers
from asd.training.network import Network


class Judging:
    """Sets the scorers of a detector.

    What people said is applied to the scorers as they were without it, whenever it or the budget changes, so that the
    same words and the same budget give the same detector in any order.

    Args:
        model: The detector; its `sections` are set.

    Attributes:
        usual: By the number of the section, what its scores are compared with.
    """

    def __init__(self, model: Network) -> None:
        self.model = model
        self.take(model.sections)

    def take(self, sections: SectionScorers) -> None:
        """Judge by other scorers and limits, of which nothing was said yet."""
        self._plain, self._said = sections, list[feedback.Said]()
        self._set(sections)

    def allow(self, false_alarms: str | float, hop: float) -> None:
        """Set all limits anew, to allow so many false alarms with a decision every `hop` seconds."""
        self._plain.allow(false_alarms, hop)
        self.hear(self._said, hop)

    def hear(self, said: Sequence[feedback.Said], hop: float) -> None:
        """Take all that people said; a `Notice` tells what could not be heeded."""
        self._said = list(said)
        sections, told = feedback.applied(self.model, self._plain, said, hop) if said else (self._plain, [])
        self._set(sections)
        for line in told:
            warnings.warn(line, Notice, stacklevel=3)

    def _set(self, sections: SectionScorers) -> None:
        self.model.sections = sections
        self.usual = [Usual.of(sections, number) for number in range(len(sections.names))]
