"""One scorer and one threshold for each machine and section: the only place that routes by machine."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.scoring.base import Scorer
from asd.scoring.normal_clips import NormalClips
from asd.scoring.reference_bank import Bank
from asd.scoring.threshold import Threshold


class Population(nn.Module):
    """Scorers by machine and section, in the order of their sorted names.

    Args:
        scorer: Prototype, copied for each name.
        threshold: How a threshold follows from the scores of normal clips.
        names: Names of the populations, such as ``fan_section_00``.

    Attributes:
        thresholds: ``(P,)`` decision thresholds, after `fit`.
        doubts: ``(P,)`` lower ends of the bands of abstention, after `fit`; the thresholds where there is none.
    """

    thresholds: Tensor
    doubts: Tensor

    def __init__(self, scorer: Scorer, threshold: Threshold, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(sorted(set(names)))
        self.threshold = threshold
        # A list, because names may hold dots; sorted, because DDP matches buffers by position.
        self.scorers = nn.ModuleList(copy.deepcopy(scorer) for _ in self.names)
        self.held_out = nn.ModuleList(NormalClips() for _ in self.names)
        self.register_buffer("thresholds", torch.full((len(self.names),), torch.inf))
        self.register_buffer("doubts", torch.full((len(self.names),), torch.inf))

    @property
    def fitted(self) -> bool:
        """Whether every population's scorer is fitted."""
        return len(self.names) > 0 and all(bool(scorer.fitted) for scorer in self.scorers)

    def index(self, name: str) -> int:
        """The number of the population of that name.

        Raises:
            UserError: It was not trained; the known ones are listed.
        """
        if name in self.names:
            return self.names.index(name)
        near = difflib.get_close_matches(name, self.names, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"the detector was not fitted for {name!r}.{guess} Known: {', '.join(self.names) or 'none'}")

    def training_scores(self, population: int) -> tuple[Tensor, Tensor]:
        """Held-out scores ``(N,)`` of the normal clips of a population, and which are of the target domain."""
        clips = self.normal_clips(population)
        return clips.scores, clips.target

    def normal_clips(self, population: int) -> NormalClips:
        """What is kept of the normal clips of a population."""
        clips = self.held_out[population]
        assert isinstance(clips, NormalClips)
        return clips

    @property
    def knows_spectra(self) -> bool:
        """Whether the usual spectrum of every population is kept."""
        return len(self.names) > 0 and all(len(self.normal_clips(number).spectrum) for number in range(len(self.names)))

    def take_spectra(self, other: Population) -> None:
        """Keep the usual spectra that another one of the same names knows."""
        for number in range(len(self.names)):
            self.normal_clips(number).spectrum = other.normal_clips(number).spectrum.clone()

    def fit(self, bank: Bank) -> Self:
        """Fit every scorer on its rows of the bank, and set its threshold.

        Raises:
            UserError: A population without clips, or embeddings that are not finite.
        """
        bank.check(self.names)
        bank.warn(self.names)
        for number in range(len(self.names)):
            rows = bank.of(number)
            scores = self._scorer(number).held_out(rows.embeddings, rows.target, rows.group)
            self.normal_clips(number).remember(scores, rows)
            try:
                limits = self.threshold.fit(scores, rows.target)
            except UserError as error:
                raise UserError(f"{self.names[number]}: {error}") from error
            self.thresholds[number], self.doubts[number] = limits.alarm, limits.doubt
            self._scorer(number).fit(rows.embeddings, rows.target, rows.group)
        return self

    def _scorer(self, number: int) -> Scorer:
        scorer = self.scorers[number]
        assert isinstance(scorer, Scorer)
        return scorer

    def forward(self, embeddings: Tensor, population: Tensor | int) -> Tensor:
        """``(B, E)`` and population numbers ``(B,)``, or one for all, to scores ``(B,)``; higher is more anomalous."""
        if isinstance(population, int):
            found: Tensor = self._scorer(population)(embeddings)
            return found.float()
        scores = embeddings.new_empty(len(embeddings), dtype=torch.float32)
        for number in population.unique().tolist():
            rows = population == number
            scores[rows] = self._scorer(number)(embeddings[rows]).float()
        return scores

    def decide(self, scores: Tensor, population: Tensor) -> Tensor:
        """``(B,)`` bool: whether each score lies above the threshold of its population.

        Raises:
            UserError: A score or a threshold is not finite: neither normal nor anomalous follows.
        """
        return scores > self._limits(self.thresholds, scores, population)

    def doubtful(self, scores: Tensor, population: Tensor) -> Tensor:
        """``(B,)`` bool: whether each score lies in the band of abstention of its population; raises as `decide`."""
        return (scores > self._limits(self.doubts, scores, population)) & ~self.decide(scores, population)

    def _limits(self, limits: Tensor, scores: Tensor, population: Tensor) -> Tensor:
        """The limit ``(B,)`` of each score."""
        own = limits.to(scores.device)[population]
        bad = ~(own.isfinite() & scores.isfinite())
        if bool(bad.any()):
            names = sorted({self.names[number] for number in population[bad.to(population.device)].tolist()})
            raise UserError(
                f"{', '.join(names)}: {int(bad.sum())} of {len(scores)} clips have a score or a threshold that is not "
                "finite; nothing can be decided: train with a lower learning rate or in float32 (trainer.precision)"
            )
        return own

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Checkpoints from before there was a band of abstention.
        if prefix + "thresholds" in state_dict:
            state_dict.setdefault(prefix + "doubts", state_dict[prefix + "thresholds"])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
