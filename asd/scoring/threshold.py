"""Decision thresholds from the held-out scores of normal training clips."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from asd.described import Described
from asd.errors import UserError
from asd.scoring.budget import Budget
from asd.scoring.limits import Limits
from asd.scoring.quantiles import quantile as quantile_of

TargetRule = Literal["pooled", "balanced", "highest"]


class Threshold(Described, ABC):
    """How limits follow from the scores of normal clips.

    A subclass says in `at` where a part of the clips lies; the rules for domains and for abstention are the same for
    all. It holds its options, and nothing that was fitted.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        target: What the few clips of the target domain count for: ``pooled``, a clip is a clip; ``balanced``, both
            domains weigh the same; ``highest``, the higher of both domains' thresholds, so that neither exceeds the
            false alarms asked for, at the price of missed faults.
        abstain: Part of the normal clips, next below the threshold, for which no decision is made; ``None``: those
            that are an alarm to a scorer that knows near copies of them, but not to one that does not.
        false_alarms: In the place of `quantile`, how many false alarms are allowed: ``1/day``, ``2/week``, ``5%``.

    Attributes:
        expected_failures: Name of a check of `asd.testing` to the reason why this threshold cannot pass it.
    """

    expected_failures: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        quantile: float = 0.9,
        target: TargetRule = "pooled",
        abstain: float | None = None,
        false_alarms: str | float | None = None,
    ) -> None:
        name = type(self).__name__
        if not 0 < quantile < 1:
            raise UserError(f"{name}: quantile is {quantile}; give a part in (0, 1), such as 0.9")
        if target not in get_args(TargetRule):
            raise UserError(f"{name}: target is {target!r}; choose one of {', '.join(get_args(TargetRule))}")
        if abstain is not None and not 0 <= abstain < quantile:
            raise UserError(f"{name}: abstain is {abstain}; give a part from 0 to below the quantile, {quantile}")
        self.quantile = quantile
        self.target = target
        self.abstain = abstain
        self.false_alarms = false_alarms
        if false_alarms is not None:
            Budget.parse(false_alarms)

    @abstractmethod
    def at(self, scores: Tensor, quantile: float) -> float:
        """The score below which a part `quantile` of clips like these ``(N,)`` lies, ``N`` at least 1.

        The scores are finite, float64 and on the CPU.
        """

    def fit(self, scores: Tensor, target: Tensor | None = None, hop: float = math.nan) -> Limits:
        """The limits for scores ``(N,)`` of normal clips, of which those flagged ``(N,)`` are of the target domain.

        Args:
            scores: Of clips that the scorer did not know.
            target: Which are of the target domain; ``None``: none.
            hop: Seconds from one decision to the next, where false alarms are allowed by time.

        Raises:
            UserError: No score, or scores or limits that are not finite.
        """
        if len(scores) == 0 or not bool(scores.isfinite().all()):
            raise UserError(f"the scores of {len(scores)} normal clips are none or not finite: no threshold follows")
        below = self.part_below(hop)
        alarm = abstain = self._by_domain(scores, target, below)
        if self.abstain:
            abstain = min(alarm, self._by_domain(scores, target, max(below - self.abstain, 0.0)))
        if not (math.isfinite(alarm) and math.isfinite(abstain)):
            raise UserError(f"{type(self).__name__} gave a threshold of {alarm} and {abstain}; choose another one")
        return Limits(alarm, abstain)

    def band(self, apart: Tensor, scores: Tensor, target: Tensor | None = None, hop: float = math.nan) -> Limits:
        """The limits from two scores of each normal clip: known near copies of it or not.

        By the first follows what may be an alarm, by the second what is one. Which holds for new sound, nobody knows:
        it depends on how much it resembles the sound that is known.

        Args:
            apart: ``(N,)`` scores, the recording of each clip held out.
            scores: ``(N,)`` scores, whatever resembles each clip held out, too.
            target: As for `fit`, whose errors are raised.
            hop: As for `fit`.
        """
        cautious = self.fit(scores, target, hop)
        if self.abstain is not None or not len(apart):
            return cautious
        lenient = self.fit(apart, target, hop)
        return Limits(max(cautious.alarm, lenient.alarm), min(cautious.alarm, lenient.alarm))

    def part_below(self, hop: float = math.nan) -> float:
        """The part of normal clips that shall lie below the threshold, with a decision every `hop` seconds."""
        return self.quantile if self.false_alarms is None else 1 - Budget.parse(self.false_alarms).rate(hop)

    def allowing(self, false_alarms: str | float) -> Self:
        """The same one, that allows so many false alarms.

        Raises:
            UserError: See `asd.scoring.budget.Budget`.
        """
        Budget.parse(false_alarms)
        other = copy.copy(self)
        other.false_alarms = false_alarms
        return other

    def _by_domain(self, scores: Tensor, target: Tensor | None, quantile: float) -> float:
        scores = scores.detach().cpu().double()
        flags = torch.zeros(len(scores), dtype=torch.bool) if target is None else target.bool().cpu()
        domains = [part for part in (scores[~flags], scores[flags]) if len(part)]
        if self.target == "pooled" or len(domains) == 1:
            return self.at(scores, quantile)
        if self.target == "highest":
            return max(self.at(part, quantile) for part in domains)
        # Each domain repeated to about the length of the longer one.
        longest = max(map(len, domains))
        return self.at(torch.cat([part.repeat(round(longest / len(part))) for part in domains]), quantile)


class GammaThreshold(Threshold):
    """The quantile of a gamma distribution fitted to the scores, as the challenge's baseline sets it.

    Scores that no gamma distribution fits (fewer than three different values, or none above zero) give their own
    quantile instead.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        target: What target clips count for: ``pooled``, ``balanced`` or ``highest``, see `Threshold`.
        abstain: Part of the normal clips, next below the threshold, for which no decision is made; see `Threshold`.
        false_alarms: How many false alarms are allowed in the place of `quantile`: ``1/day``, ``2/week``, ``5%``.
    """

    def at(self, scores: Tensor, quantile: float) -> float:
        """The quantile of the distribution fitted to scores ``(N,)``."""
        values = scores.detach().cpu().double().numpy()
        positive = values[values > 0]
        if len(positive) == len(values) and len(np.unique(positive)) >= 3:
            from scipy import stats  # not above: who decides does without

            shape, location, scale = stats.gamma.fit(positive, floc=0)
            threshold = float(stats.gamma.ppf(quantile, shape, location, scale))
            if math.isfinite(threshold):
                return threshold
        return float(quantile_of(scores.detach().cpu().double(), quantile))


class QuantileThreshold(Threshold):
    """The empirical quantile of the scores.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        target: What target clips count for: ``pooled``, ``balanced`` or ``highest``, see `Threshold`.
        abstain: Part of the normal clips, next below the threshold, for which no decision is made; see `Threshold`.
        false_alarms: How many false alarms are allowed in the place of `quantile`: ``1/day``, ``2/week``, ``5%``.
    """

    def at(self, scores: Tensor, quantile: float) -> float:
        """The quantile of scores ``(N,)``."""
        return float(quantile_of(scores.detach().cpu().double(), quantile))


class ConformalThreshold(Threshold):
    """The split-conformal quantile: a new normal clip lies above it with probability 1 - `quantile` at most.

    With too few clips for the promise, the highest score (Vovk et al. 2005, Algorithmic Learning in a Random World).
    The promise holds for one domain at a time: ``highest`` keeps it for both, ``balanced`` for neither.

    Args:
        quantile: Part of the normal clips that shall lie below the threshold.
        target: What target clips count for: ``pooled``, ``balanced`` or ``highest``, see `Threshold`.
        abstain: Part of the normal clips, next below the threshold, for which no decision is made; see `Threshold`.
        false_alarms: How many false alarms are allowed in the place of `quantile`: ``1/day``, ``2/week``, ``5%``.
    """

    def at(self, scores: Tensor, quantile: float) -> float:
        """The score of the rank that keeps the promise."""
        count = len(scores)
        # Rounded first: 0.3 * 10 is a little more than 3.
        rank = min(math.ceil(round((count + 1) * quantile, 9)), count)
        return float(scores.detach().cpu().double().sort().values[max(rank, 1) - 1])
