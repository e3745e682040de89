"""Metrics at their edges: one class, one domain, nobody alarmed, no value at all, and every rule by name."""

from __future__ import annotations

import sys
import warnings
from dataclasses import FrozenInstanceError, fields
from math import isnan, nan

import numpy as np
import pytest

from asd.errors import UserError
from asd.evaluation.metrics import (
    MAX_FALSE_POSITIVE_RATE,
    DecisionMetrics,
    Rule,
    SectionMetrics,
    area_under_roc,
    decision_metrics,
    harmonic_mean,
    mean_by_rule,
    measure_parts,
    official_score,
    rule_of,
    section_metrics,
    weighted_area,
)

SCORES = np.array([3.0, 1.0, 2.0])
ALL, NONE = np.ones(3, dtype=bool), np.zeros(3, dtype=bool)


@pytest.mark.parametrize("one_class", [ALL, NONE], ids=["anomalous alone", "normal alone"])
def test_one_class_alone_has_no_area_and_gives_no_warning(one_class: np.ndarray) -> None:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert isnan(area_under_roc(one_class, SCORES))
        assert isnan(area_under_roc(one_class, SCORES, 0.1))
        found = weighted_area(np.ones((2, 3)), one_class, SCORES)
    assert found.shape == (2,)
    assert np.isnan(found).all()


def test_the_weighted_area_of_a_hand_made_case() -> None:
    anomalous, scores = np.array([False, True, False, True]), np.array([1.0, 2.0, 2.0, 3.0])
    # Normal at 1 and 2, anomalous at 2 and 3: of four pairs three are right and one is a tie.
    once = np.ones((1, 4))
    assert weighted_area(once, anomalous, scores) == pytest.approx([3.5 / 4])
    assert weighted_area(np.array([[1, 0, 1, 1]]), anomalous, scores) == pytest.approx([1.0])
    # Up to a rate of 0.5 the curve rises to 1/2, then straight to 1: area 0.375, of 0.125 by chance and 0.5 at best.
    assert weighted_area(once, anomalous, scores, 0.5) == pytest.approx([0.5 * (1 + (0.375 - 0.125) / 0.375)])


@pytest.mark.parametrize(
    ("year", "rule"), [(2020, "2020"), (2021, "2021"), (2022, "2022"), (2023, "2022"), (2026, "2022")]
)
def test_each_year_has_its_rule(year: int, rule: str) -> None:
    assert Rule.of_year(year).value == rule


@pytest.mark.parametrize("year", [2019, 2027])
def test_a_year_without_a_challenge_is_refused(year: int) -> None:
    with pytest.raises(UserError, match=f"no rule for the year {year}; known are 2020 to 2026$"):
        Rule.of_year(year)


def test_each_rule_has_its_parts_and_each_part_its_clips() -> None:
    anomalous = np.array([False, True, False, True])
    target = np.array([False, False, True, True])
    seen = {
        rule: measure_parts(anomalous, target, rule, lambda chosen, limit: (chosen.tolist(), limit)) for rule in Rule
    }
    every, low = [True] * 4, MAX_FALSE_POSITIVE_RATE
    assert low == 0.1
    source, of_target = [True, True, False, False], [False, False, True, True]
    assert seen == {
        Rule.IDS_2020: {"auc": (every, None), "pauc": (every, low)},
        Rule.WITHIN_2021: {
            "auc_source": (source, None), "auc_target": (of_target, None),
            "pauc_source": (source, low), "pauc_target": (of_target, low),
        },
        Rule.ACROSS_2022: {
            "auc_source": ([True, True, False, True], None), "auc_target": ([False, True, True, True], None),
            "pauc": (every, low),
        },
    }  # fmt: skip


def test_what_was_not_measured_is_nan_by_the_rule_of_2022() -> None:
    empty = SectionMetrics()
    assert empty.rule == Rule.ACROSS_2022
    assert empty.source is None and empty.target is None
    numbers = [one.name for one in fields(SectionMetrics) if one.name not in ("source", "target", "rule")]
    assert len(numbers) == 6
    assert all(isnan(getattr(empty, name)) for name in numbers)


def test_decisions_of_one_condition_alone() -> None:
    alarms = np.array([True, False, False])
    assert str(decision_metrics(alarms, NONE)) == str(DecisionMetrics(0.0, nan, nan, 1 / 3, 3, 0))
    assert str(decision_metrics(alarms, ALL)) == str(DecisionMetrics(1.0, 1 / 3, 0.5, nan, 0, 3))


def test_clips_without_a_decision_are_counted_apart() -> None:
    anomalous = np.array([False, False, False, True, True, False])
    target = np.array([False, False, False, False, False, True])
    decisions = np.array([True, False, False, True, False, True])
    abstain = np.array([False, False, True, False, True, False])
    found = section_metrics(np.arange(6.0), anomalous, target, decisions, abstain=abstain)
    assert found.source == DecisionMetrics(0.5, 1.0, 2 / 3, 0.5, 2, 1, 2 / 5)
    assert found.target is not None
    assert (found.target.false_alarm_rate, found.target.normal, found.target.abstained) == (1.0, 1, 0.0)
    # Counted even where no clip is left that was decided.
    assert decision_metrics(NONE[:0], NONE[:0], 2).abstained == 1.0
    assert isnan(decision_metrics(NONE[:0], NONE[:0], 2).precision)


def test_lists_are_taken_as_arrays() -> None:
    found = section_metrics([1, 2, 3, 4], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1], abstain=[0, 0, 0, 0])  # type: ignore[arg-type]
    assert (found.auc_source, found.auc_target) == (1.0, 0.5)
    assert found.source == DecisionMetrics(1.0, 1.0, 1.0, 0.0, 1, 1)
    assert section_metrics([1, 2, 3, 4], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1]).source == found.source  # type: ignore[arg-type]


def test_what_was_measured_stays_as_it_is() -> None:
    for measured in (SectionMetrics(), DecisionMetrics(1.0, 1.0, 1.0, 0.0, 1, 1)):
        with pytest.raises(FrozenInstanceError):
            measured.rule = Rule.IDS_2020  # type: ignore[misc, union-attr]


def test_means_by_rule_along_an_axis() -> None:
    values = np.array([[0.5, 1.0], [0.25, 1.0]])
    assert harmonic_mean(values) == pytest.approx(4 / (2 + 1 + 4 + 1))
    assert harmonic_mean(values, 1) == pytest.approx([2 / 3, 2 / 5])
    assert mean_by_rule(values, Rule.ACROSS_2022, 1) == pytest.approx([2 / 3, 2 / 5])
    assert mean_by_rule(values, Rule.IDS_2020, 1) == pytest.approx([0.75, 0.625])
    assert mean_by_rule(values, Rule.IDS_2020) == pytest.approx(0.6875)


def test_a_zero_counts_as_the_float_epsilon() -> None:
    found = harmonic_mean(np.array([0.0, 1.0]))
    assert found == pytest.approx(2 * sys.float_info.epsilon, rel=1e-9)
    assert found > 0


def test_the_rule_of_nothing_and_of_several_sections() -> None:
    old = SectionMetrics(auc=0.5, pauc=0.25, rule=Rule.IDS_2020)
    assert rule_of({}) == Rule.ACROSS_2022
    assert rule_of({"a": old, "b": old}) == Rule.IDS_2020
    assert isnan(official_score({}))
    assert official_score({"a": old}) == pytest.approx(0.375)
    with pytest.raises(ValueError, match=r"sections measured by different rules: .*2020.*2022"):
        rule_of({"a": old, "b": SectionMetrics()})
