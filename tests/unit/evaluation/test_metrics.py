"""AUC, pAUC, decisions and official score, against hand-made cases and a count over pairs."""

from __future__ import annotations

import sys
from math import isnan, nan

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd.errors import UserError
from asd.evaluation.metrics import (
    Rule,
    SectionMetrics,
    area_under_roc,
    harmonic_mean,
    official_score,
    section_metrics,
    weighted_area,
)


def pairs(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """How often an anomalous clip scores higher than a normal one; a tie counts half."""
    difference = anomalous[:, None] - normal[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


@pytest.fixture
def clips() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    anomalous = np.tile([False, True], 60)
    target = np.repeat([False, True], 60)
    # Coarse, so that there are ties; the target domain is shifted.
    scores = np.round(generator.normal(size=120) + anomalous + 0.7 * target, 1)
    return scores, anomalous, target


def test_a_domain_is_its_normals_against_the_anomalies_of_both(clips) -> None:
    scores, anomalous, target = clips
    found = section_metrics(scores, anomalous, target)
    assert found.auc_source == pytest.approx(pairs(scores[~anomalous & ~target], scores[anomalous]))
    assert found.auc_target == pytest.approx(pairs(scores[~anomalous & target], scores[anomalous]))
    within = section_metrics(scores, anomalous, target, rule=Rule.WITHIN_2021)
    assert within.auc_source == pytest.approx(pairs(scores[~anomalous & ~target], scores[anomalous & ~target]))
    assert within.auc_source != found.auc_source


def test_pauc_is_standardised_over_all_clips(clips) -> None:
    scores, anomalous, target = clips
    assert section_metrics(scores, anomalous, target).pauc == roc_auc_score(anomalous, scores, max_fpr=0.1)
    worst = section_metrics(-anomalous.astype(float), anomalous, target)
    assert worst.pauc == pytest.approx(0.5 * (1 - 0.005 / 0.095))
    assert worst.auc_source == 0.0


@pytest.mark.parametrize("offset", [50.0, 1e6])
def test_large_distances_are_not_flattened(clips, offset: float) -> None:
    """A sigmoid would turn every one of these scores into 1.0 and the AUC into 0.5."""
    scores, anomalous, target = clips
    as_is, far = (section_metrics(one, anomalous, target) for one in (scores, scores * 64 + offset))
    assert far.parts == pytest.approx(as_is.parts)
    assert far.auc_source > 0.7
    with np.errstate(over="ignore"):
        assert roc_auc_score(anomalous, (1 / (1 + np.exp(-scores[:] - offset))).astype(np.float32)) == 0.5


def test_higher_is_more_anomalous() -> None:
    found = section_metrics(np.array([1.0, 2.0]), np.array([False, True]), np.array([False, False]))
    assert found.auc_source == 1.0


def test_what_cannot_be_measured_is_nan_and_left_out() -> None:
    source_only = section_metrics(np.array([1.0, 2.0, 0.5]), np.array([False, True, True]), np.zeros(3, dtype=bool))
    assert isnan(source_only.auc_target)
    expected = harmonic_mean(np.array([source_only.auc_source, source_only.pauc]))
    assert official_score({"fan": source_only}) == pytest.approx(float(expected))
    normal_only = section_metrics(np.array([1.0, 2.0]), np.zeros(2, dtype=bool), np.array([False, True]))
    assert isnan(official_score({"fan": normal_only}))
    assert isnan(official_score({}))


def test_official_score_is_a_harmonic_mean_clamped_at_epsilon() -> None:
    assert official_score({"a": SectionMetrics(0.5, 1.0, 0.5), "b": SectionMetrics(0.25, 1.0, 1.0)}) == pytest.approx(
        6 / (2 + 1 + 2 + 4 + 1 + 1)
    )
    zero = official_score({"a": SectionMetrics(0.0, 1.0, 1.0)})
    assert zero == pytest.approx(3 * sys.float_info.epsilon)


def test_rules_of_the_years(clips) -> None:
    scores, anomalous, target = clips
    assert [Rule.of_year(year) for year in (2020, 2021, 2022, 2026)] == [
        Rule.IDS_2020, Rule.WITHIN_2021, Rule.ACROSS_2022, Rule.ACROSS_2022,
    ]  # fmt: skip
    with pytest.raises(UserError, match="2019"):
        Rule.of_year(2019)
    first = section_metrics(scores, anomalous, target, rule=Rule.IDS_2020)
    assert first.parts == {
        "auc": roc_auc_score(anomalous, scores), "pauc": roc_auc_score(anomalous, scores, max_fpr=0.1)
    }  # fmt: skip
    assert official_score({"a": first}) == pytest.approx((first.auc + first.pauc) / 2)
    second = section_metrics(scores, anomalous, target, rule=Rule.WITHIN_2021)
    assert second.pauc_target == roc_auc_score(anomalous[target], scores[target], max_fpr=0.1)
    assert official_score({"a": second}) == pytest.approx(4 / sum(1 / value for value in second.parts.values()))
    with pytest.raises(ValueError, match="different rules"):
        official_score({"a": first, "b": second})


def test_decisions_are_measured_within_each_domain() -> None:
    anomalous = np.array([0, 0, 0, 0, 1, 1, 0, 0, 1, 1], dtype=bool)
    target = np.array([0] * 6 + [1] * 4, dtype=bool)
    decisions = np.array([1, 0, 0, 0, 1, 1, 1, 1, 0, 1], dtype=bool)
    found = section_metrics(np.arange(10.0), anomalous, target, decisions)
    assert found.source is not None
    assert found.target is not None
    assert (found.source.precision, found.source.recall) == (pytest.approx(2 / 3), 1.0)
    assert (found.source.f1, found.source.false_alarm_rate) == (pytest.approx(0.8), 0.25)
    assert (found.source.normal, found.source.anomalous) == (4, 2)
    assert (found.target.precision, found.target.recall) == (pytest.approx(1 / 3), 0.5)
    assert (found.target.f1, found.target.false_alarm_rate) == (pytest.approx(0.4), 1.0)
    assert section_metrics(np.arange(10.0), anomalous, target).source is None


def test_no_alarm_is_precision_zero_and_no_clip_is_unknown() -> None:
    quiet = section_metrics(np.arange(2.0), np.array([False, True]), np.zeros(2, bool), np.zeros(2, bool))
    assert quiet.source is not None
    assert quiet.target is not None
    assert (quiet.source.precision, quiet.source.recall, quiet.source.f1) == (0.0, 0.0, 0.0)
    assert isnan(quiet.target.precision)
    assert isnan(quiet.target.false_alarm_rate)


@pytest.mark.parametrize("bad", [nan, float("inf")])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(UserError, match="1 of 2 anomaly scores are not finite"):
        section_metrics(np.array([bad, 1.0]), np.array([False, True]), np.zeros(2, bool))


@pytest.mark.parametrize("limit", [None, 0.1, 0.37])
def test_the_area_of_drawn_clips_equals_that_of_repeated_clips(clips, limit: float | None) -> None:
    scores, anomalous, _ = clips
    drawn = np.random.default_rng(1).integers(0, 4, size=(20, len(scores)))
    found = weighted_area(drawn, anomalous, scores, limit)
    repeated = [area_under_roc(np.repeat(anomalous, row), np.repeat(scores, row), limit) for row in drawn]
    assert found == pytest.approx(repeated, abs=1e-12)
