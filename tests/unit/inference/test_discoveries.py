"""p-values of recordings, and folders decided by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from asd.errors import UserError
from asd.inference.discoveries import discoveries
from asd.inference.result import Result, Usual
from asd.scoring.conformal import Ranks
from asd.scoring.limits import Limits


def results(scores: Sequence[float], normal: Ranks) -> list[Result]:
    usual = Usual("fan_section_00", Limits(1e9, 1e9), normal)
    return [usual.result(f"{row}.wav", score, [(0.0, score)]) for row, score in enumerate(scores)]


def test_a_p_value_counts_recordings_that_score_as_high() -> None:
    normal = Ranks([1.0, 2.0, 3.0])
    assert [normal.p_value(score) for score in (0.0, 1.0, 1.5, 3.0, 3.1)] == [1.0, 1.0, 0.75, 0.5, 0.25]
    assert [normal.percentile(score) for score in (0.5, 2.0, 9.0)] == pytest.approx([0, 200 / 3, 100])
    assert math.isnan(Ranks([]).p_value(1.0))
    assert math.isnan(Ranks([]).percentile(1.0))


def test_the_clips_of_a_recording_count_as_one_together() -> None:
    normal = Ranks([1.0, 5.0, 5.0, 5.0, 2.0], [0, 1, 1, 1, 0])
    assert normal.p_value(1.5) == pytest.approx((1 + 0.5 + 1) / 3)
    assert normal.p_value(4.0) == pytest.approx((1 + 1) / 3)
    assert normal.p_value(6.0) == pytest.approx(1 / 3)


def test_p_values_of_normal_sound_are_never_too_small() -> None:
    draw = np.random.default_rng(0)
    found = np.array([Ranks(draw.normal(size=19).tolist()).p_value(float(draw.normal())) for _ in range(4000)])
    for level in (0.05, 0.1, 0.3, 0.8):
        assert abs((found <= level).mean() - level) < 0.02


def test_of_the_discoveries_no_more_are_normal_than_was_asked_for() -> None:
    """By the step-up rule, against its definition; and on average over many folders."""
    draw = np.random.default_rng(1)
    wrong, found_faults = [], []
    for _ in range(200):
        normal = Ranks(draw.normal(size=199).tolist())
        faulty = np.arange(50) < 15
        scores = draw.normal(size=50) + 4 * faulty
        given = results(scores.tolist(), normal)
        called = np.array([one.anomalous for one in discoveries(given, 0.2)])
        ordered = np.sort([one.p_value for one in given])
        count = max((rank for rank in range(1, 51) if ordered[rank - 1] <= 0.2 * rank / 50), default=0)
        assert called.sum() == count
        wrong.append((called & ~faulty).sum() / max(1, called.sum()))
        found_faults.append((called & faulty).sum() / 15)
    assert np.mean(wrong) < 0.2
    assert np.mean(found_faults) > 0.9


def test_ties_are_decided_alike_and_nothing_is_found_where_nothing_is_new() -> None:
    normal = Ranks(list(range(99)))
    assert [one.decision for one in discoveries(results([200.0, 200.0, 0.0], normal), 0.05)] == [
        "anomalous", "anomalous", "normal",
    ]  # fmt: skip
    assert not any(one.anomalous for one in discoveries(results([5.0, 50.0], normal), 0.05))
    assert discoveries([], 0.1) == []


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="the false discovery rate is"):
        discoveries([], rate)


def test_without_normal_clips_there_are_no_p_values() -> None:
    with pytest.raises(UserError, match="fan_section_00: the checkpoint keeps no scores"):
        discoveries(results([1.0], Ranks([])), 0.1)
