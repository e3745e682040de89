"""Metrics of the DCASE challenge's Task 2: AUC, partial AUC, decisions and the official score of each year.

Scores stay raw, higher is more anomalous: no sigmoid, which would flatten large distances into one value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import nan
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asd.errors import UserError

MAX_FALSE_POSITIVE_RATE = 0.1
Flags = NDArray[np.bool_]
Values = NDArray[np.floating]
Area = TypeVar("Area")


class Rule(StrEnum):
    """How the challenge of a year measures a section and averages over sections.

    ``2020``: AUC and pAUC over all clips of a machine id, arithmetic mean. ``2021``: AUC and pAUC within each domain,
    harmonic mean. ``2022`` and since: the normal clips of a domain against the anomalous clips of both domains, pAUC
    over all clips, harmonic mean.
    """

    IDS_2020 = "2020"
    WITHIN_2021 = "2021"
    ACROSS_2022 = "2022"

    @classmethod
    def of_year(cls, year: int) -> Rule:
        """The rule of the challenge of that year.

        Raises:
            UserError: There was no such challenge.
        """
        if not 2020 <= year <= 2026:
            raise UserError(f"no rule for the year {year}; known are 2020 to 2026")
        return cls(str(min(year, 2022)))

    @property
    def parts(self) -> tuple[str, ...]:
        """The values of `SectionMetrics` that enter the official score."""
        return _PARTS[self]


_PARTS = {
    Rule.IDS_2020: ("auc", "pauc"),
    Rule.WITHIN_2021: ("auc_source", "auc_target", "pauc_source", "pauc_target"),
    Rule.ACROSS_2022: ("auc_source", "auc_target", "pauc"),
}


@dataclass(frozen=True)
class DecisionMetrics:
    """What the decisions on the clips of one domain are worth, as fractions; nan where no clip is behind a value.

    Attributes:
        precision: Of the alarms, how many were right; zero where there was no alarm, as the challenge counts it.
        recall: Of the anomalous clips, how many raised an alarm.
        f1: Harmonic mean of precision and recall.
        false_alarm_rate: Of the normal clips, how many raised an alarm.
        normal: Number of normal clips behind the false-alarm rate.
        anomalous: Number of anomalous clips behind the recall.
        abstained: Of all clips, how many lie in the band of abstention; the other values are of the rest.
    """

    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    normal: int
    anomalous: int
    abstained: float = 0.0


@dataclass(frozen=True)
class SectionMetrics:
    """Metrics of one machine and section as fractions; nan where not measurable or not part of the rule.

    Attributes:
        auc_source: AUC of the source domain.
        auc_target: AUC of the target domain.
        pauc: AUC up to a false-positive rate of 0.1 over all clips, McClish-standardised: chance is 0.5.
        auc: AUC over all clips (2020).
        pauc_source: pAUC within the source domain (2021).
        pauc_target: pAUC within the target domain (2021).
        source: Decisions on the source clips, where decisions are known.
        target: Decisions on the target clips, where decisions are known.
        rule: The rule measured by.
    """

    auc_source: float = nan
    auc_target: float = nan
    pauc: float = nan
    auc: float = nan
    pauc_source: float = nan
    pauc_target: float = nan
    source: DecisionMetrics | None = None
    target: DecisionMetrics | None = None
    rule: Rule = Rule.ACROSS_2022

    @property
    def parts(self) -> dict[str, float]:
        """The values that enter the official score, by name."""
        return {name: getattr(self, name) for name in self.rule.parts}


def _selection(part: str, anomalous: Flags, target: Flags, rule: Rule) -> Flags:
    """Which of the ``(N,)`` clips the part of the official score is measured on."""
    if part in ("auc", "pauc"):
        return np.ones_like(anomalous)
    domain = target if part.endswith("_target") else ~target
    return domain | anomalous if rule == Rule.ACROSS_2022 else domain


def measure_parts(
    anomalous: Flags, target: Flags, rule: Rule, area: Callable[[Flags, float | None], Area]
) -> dict[str, Area]:
    """Each part of the official score: `area` of the ``(N,)`` clips it is measured on and its false-positive limit."""
    return {
        part: area(
            _selection(part, anomalous, target, rule), MAX_FALSE_POSITIVE_RATE if part.startswith("pauc") else None
        )
        for part in rule.parts
    }


def area_under_roc(anomalous: Flags, scores: Values, max_fpr: float | None = None) -> float:
    """AUC of ``(N,)`` raw scores, or the McClish-standardised partial AUC; nan without clips of both conditions."""
    if anomalous.all() or not anomalous.any():
        return nan
    from sklearn.metrics import roc_auc_score  # not above: who watches and explains does without

    return float(roc_auc_score(anomalous, scores, max_fpr=max_fpr))


def weighted_area(
    weights: Values, anomalous: Flags, scores: Values, max_fpr: float | None = None
) -> NDArray[np.float64]:
    """`area_under_roc` of ``(N,)`` clips for each row of ``(R, N)`` counts of how often a clip was drawn: ``(R,)``."""
    if anomalous.all() or not anomalous.any():
        return np.full(len(weights), nan)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    drawn = weights[:, order].astype(np.float64)

    def rates(counted: Flags) -> NDArray[np.float64]:
        above = np.cumsum(drawn * counted[order], axis=1)
        return np.pad(above[:, last_of_ties] / above[:, -1:], ((0, 0), (1, 0)))

    true, false = rates(anomalous), rates(~anomalous)
    limit = 1.0 if max_fpr is None else max_fpr
    width = np.diff(false, axis=1)
    inside = np.diff(np.minimum(false, limit), axis=1)
    slope = np.divide(np.diff(true, axis=1), width, out=np.zeros_like(width), where=width > 0)
    area: NDArray[np.float64] = np.sum(inside * (true[:, :-1] + slope * inside / 2), axis=1)
    if max_fpr is None:
        return area
    chance = limit**2 / 2
    standardised: NDArray[np.float64] = 0.5 * (1 + (area - chance) / (limit - chance))
    return standardised


def section_metrics(
    scores: Values,
    anomalous: Flags,
    target: Flags,
    decisions: Flags | None = None,
    rule: Rule = Rule.ACROSS_2022,
    abstain: Flags | None = None,
) -> SectionMetrics:
    """Metrics of the clips of one machine and section.

    Args:
        scores: ``(N,)`` raw anomaly scores, higher is more anomalous.
        anomalous: ``(N,)`` whether the machine was anomalous.
        target: ``(N,)`` whether the clip is of the target domain.
        decisions: ``(N,)`` whether an alarm was raised; ``None``: no decisions.
        rule: The year's rule.
        abstain: ``(N,)`` which clips lie in the band of abstention; ``None``: none.

    Raises:
        UserError: A score is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    anomalous, target = np.asarray(anomalous, dtype=bool), np.asarray(target, dtype=bool)
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise UserError(f"{bad} of {len(scores)} anomaly scores are not finite; nothing can be measured by them")
    values = measure_parts(
        anomalous, target, rule, lambda chosen, limit: area_under_roc(anomalous[chosen], scores[chosen], limit)
    )
    source_decisions = target_decisions = None
    if decisions is not None:
        decisions = np.asarray(decisions, dtype=bool)
        decided = np.ones_like(decisions) if abstain is None else ~np.asarray(abstain, dtype=bool)
        source_decisions, target_decisions = (
            decision_metrics(decisions[own & decided], anomalous[own & decided], int((own & ~decided).sum()))
            for own in (~target, target)
        )
    return SectionMetrics(**values, source=source_decisions, target=target_decisions, rule=rule)


def decision_metrics(decisions: Flags, anomalous: Flags, abstained: int = 0) -> DecisionMetrics:
    """Precision, recall, F1 and false-alarm rate of ``(N,)`` decisions, beside so many clips without one."""
    positive, negative = int(anomalous.sum()), int((~anomalous).sum())
    hits, alarms = int((decisions & anomalous).sum()), int(decisions.sum())
    precision = (hits / alarms if alarms else 0.0) if positive + negative else nan
    return DecisionMetrics(
        precision=precision,
        recall=hits / positive if positive else nan,
        f1=2 * hits / (alarms + positive) if positive else nan,
        false_alarm_rate=(alarms - hits) / negative if negative else nan,
        normal=negative,
        anomalous=positive,
        abstained=abstained / (len(decisions) + abstained) if abstained else 0.0,
    )


def harmonic_mean(values: Values, axis: int | None = None) -> NDArray[np.float64]:
    """Harmonic mean of values clamped below at the float epsilon."""
    clamped = np.maximum(values, sys.float_info.epsilon)
    return np.asarray(1.0 / np.mean(1.0 / clamped, axis=axis))


def mean_by_rule(values: Values, rule: Rule, axis: int | None = None) -> NDArray[np.float64]:
    """The mean that the year's official score is made of."""
    return np.asarray(np.mean(values, axis=axis)) if rule == Rule.IDS_2020 else harmonic_mean(values, axis)


def rule_of(sections: Mapping[str, SectionMetrics]) -> Rule:
    """The one rule that all sections were measured by."""
    rules = {one.rule for one in sections.values()} or {Rule.ACROSS_2022}
    if len(rules) > 1:
        raise ValueError(f"sections measured by different rules: {sorted(rules)}")
    return rules.pop()


def official_score(sections: Mapping[str, SectionMetrics]) -> float:
    """The official score as a fraction: the mean over machines and sections of all the rule's parts.

    Parts that could not be measured (nan) are left out; nan where nothing could be measured.
    """
    values = np.array([value for one in sections.values() for value in one.parts.values()], dtype=np.float64)
    known = values[~np.isnan(values)]
    return float(mean_by_rule(known, rule_of(sections))) if len(known) else nan
