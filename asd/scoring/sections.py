"""One scorer and one threshold for each machine and section: the only place that routes by machine."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.machine import MachineSection, find
from asd.scoring.base import Scorer
from asd.scoring.in_parts import of_each_on
from asd.scoring.limits import Decision, Limits
from asd.scoring.normal_clips import NormalClips
from asd.scoring.reference_bank import Bank
from asd.scoring.threshold import Threshold


class SectionScorers(nn.Module):
    """Scorers by machine and section, in the order of their sorted names.

    Args:
        scorer: Prototype, copied for each name.
        threshold: How a threshold follows from the scores of normal clips.
        sections: The machines and sections, also by name, such as ``fan_section_00``.

    Attributes:
        sections: Sorted by name; their numbers are their positions.
        names: Their names.
        thresholds: ``(P,)`` decision thresholds of the ``P`` sections, after `fit`.
        abstain_above: ``(P,)`` lower ends of the bands of abstention, after `fit`; the thresholds where there is none.
    """

    thresholds: Tensor
    abstain_above: Tensor

    def __init__(self, scorer: Scorer, threshold: Threshold, sections: Sequence[MachineSection | str]) -> None:
        super().__init__()
        self.names = tuple(sorted(set(map(str, sections))))
        self.sections = tuple(map(MachineSection.parse, self.names))
        self.threshold = threshold
        # A list, because names may hold dots; sorted, because DDP matches buffers by position.
        self.scorers = nn.ModuleList(copy.deepcopy(scorer) for _ in self.names)
        self.held_out = nn.ModuleList(NormalClips() for _ in self.names)
        self.register_buffer("thresholds", torch.full((len(self.names),), torch.inf))
        self.register_buffer("abstain_above", torch.full((len(self.names),), torch.inf))

    @property
    def fitted(self) -> bool:
        """Whether every section's scorer is fitted."""
        return len(self.names) > 0 and all(bool(scorer.fitted) for scorer in self.scorers)

    def index(self, machine: MachineSection | str | None) -> int:
        """The number of a machine and section, found as `asd.machine.find` does, and with its errors."""
        return find(None if machine is None else str(machine), self.sections)

    def training_scores(self, number: int) -> tuple[Tensor, Tensor]:
        """Held-out scores ``(N,)`` of the clips that set a section's limits, and which are of the target domain."""
        clips = self.normal_clips(number)
        return clips.scores, clips.target

    def normal_clips(self, number: int) -> NormalClips:
        """What is kept of the normal clips of a section."""
        clips = self.held_out[number]
        assert isinstance(clips, NormalClips)
        return clips

    @property
    def knows_spectra(self) -> bool:
        """Whether the usual spectrum of every section is kept."""
        return len(self.names) > 0 and all(len(self.normal_clips(number).spectrum) for number in range(len(self.names)))

    def take_spectra(self, other: SectionScorers) -> None:
        """Keep the usual spectra that another one knows of the sections of these names."""
        for number, name in enumerate(self.names):
            known = other.normal_clips(other.names.index(name))
            self.normal_clips(number).keep_spectrum(known.spectrum)

    def fit(self, bank: Bank, hop: float = math.nan) -> Self:
        """Fit every scorer on its rows of the bank, and set its limits.

        Args:
            bank: The normal clips.
            hop: Seconds from one decision to the next, for thresholds that allow so many false alarms in a time.

        Raises:
            UserError: A section without clips, or embeddings that are not finite.
        """
        bank.check(self.names)
        bank.warn(self.names)
        for number in range(len(self.names)):
            self.fit_section(number, bank.of(number), hop)
        return self

    def fit_section(self, number: int, rows: Bank, hop: float = math.nan) -> None:
        """Fit the scorer of a section on its rows of the bank, which was checked, and set its limits; see `fit`."""
        scorer, block = self._scorer(number), rows.blocks()
        apart = scores = scorer.held_out(rows.embeddings, rows.target, rows.group)
        if len(block.unique()) < len(rows.group.unique()):
            scores = scorer.held_out(rows.embeddings, rows.target, block)
        self.normal_clips(number).remember(scores, apart, block, rows)
        self.set_limits(number, hop)
        scorer.fit(rows.embeddings, rows.target, rows.group).to(rows.embeddings.device)

    def take(self, number: int, other: SectionScorers, at: int) -> None:
        """Put what another one has learned of its section `at` in the place of what is known of a section."""
        self.scorers[number], self.held_out[number] = other.scorers[at], other.held_out[at]
        self.thresholds[number], self.abstain_above[number] = other.limits(at)

    def allow(self, false_alarms: str | float, hop: float) -> None:
        """Set all limits anew, to allow so many false alarms with a decision every `hop` seconds."""
        self.threshold = self.threshold.allowing(false_alarms)
        for number in range(len(self.names)):
            self.set_limits(number, hop)

    def set_limits(self, number: int, hop: float = math.nan) -> None:
        """Set the limits of a section by what is known of its normal clips; `hop` as for `fit`."""
        clips = self.normal_clips(number)
        try:
            limits = self.threshold.band(clips.apart, clips.scores, clips.target, hop)
        except UserError as error:
            raise UserError(f"{self.names[number]}: {error}") from error
        self.thresholds[number], self.abstain_above[number] = limits

    def _scorer(self, number: int) -> Scorer:
        scorer = self.scorers[number]
        assert isinstance(scorer, Scorer)
        return scorer

    def forward(self, embeddings: Tensor, section: Tensor | int) -> Tensor:
        """``(B, E)`` and numbers of sections ``(B,)``, or one for all, to scores ``(B,)``; higher is more anomalous."""
        if isinstance(section, int):
            found: Tensor = self._scorer(section)(embeddings)
            return found.float()
        scores = embeddings.new_empty(len(embeddings), dtype=torch.float32)
        for number in section.unique().tolist():
            rows = torch.nonzero(section == number).flatten()
            scores[rows] = self.scores(number, embeddings, rows)
        return scores

    def scores(self, number: int, embeddings: Tensor, rows: Tensor) -> Tensor:
        """Scores ``(n,)`` in a section of those of the embeddings ``(B, E)`` that have these numbers ``(n,)``.

        They lie where the embeddings do, wherever they were found.
        """
        return of_each_on(self._scorer(number).device, embeddings, self._scorer(number), rows)

    def limits(self, number: int) -> Limits:
        """Where the decisions of a section change."""
        return Limits(float(self.thresholds[number]), float(self.abstain_above[number]))

    def decide(self, scores: Tensor, section: Tensor) -> list[Decision]:
        """What follows from the scores ``(B,)`` of clips of the sections of these numbers ``(B,)``.

        Raises:
            UserError: A score or a limit is not finite: neither normal nor anomalous follows.
        """
        limits = [self.limits(number) for number in range(len(self.names))]
        pairs = list(zip(scores.tolist(), section.tolist(), strict=True))
        bad = [number for score, number in pairs if not all(map(math.isfinite, (score, *limits[number])))]
        if bad:
            names = sorted({self.names[number] for number in bad})
            raise UserError(
                f"{', '.join(names)}: {len(bad)} of {len(scores)} clips have a score or a threshold that is not "
                "finite; nothing can be decided: train with a lower learning rate or in float32 (trainer.precision)"
            )
        return [limits[number].decide(score) for score, number in pairs]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Checkpoints from before there was a band of abstention, or from when it went by another name.
        if prefix + "thresholds" in state_dict:
            lower = state_dict.pop(prefix + "doubts", state_dict[prefix + "thresholds"])
            state_dict.setdefault(prefix + "abstain_above", lower)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
