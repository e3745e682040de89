"""Intervals: repeatable, as wide as the clips allow, and wider where clips share a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asd.errors import UserError
from asd.evaluation.bootstrap import Options, compare, interval, read_groups
from asd.evaluation.clip_scores import ClipScore, measure
from asd.evaluation.metrics import Rule, official_score

RULE = Rule.ACROSS_2022


def system(seed: int, gain: float, recordings: int = 40, machine: str = "fan") -> list[ClipScore]:
    """Scores of 160 clips; clips cut from one of the recordings of their kind have nearly the same score."""
    generator = np.random.default_rng(seed)
    rows = []
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            level = generator.normal(size=recordings) + gain * (condition == "anomaly")
            for number in range(40):
                score = float(level[number % recordings] + 0.01 * generator.normal())
                rows.append(ClipScore(f"{domain}_{condition}_{number}", machine, "00", score, None, domain, condition))
    return rows


def recording_of(rows: list[ClipScore], recordings: int) -> dict[tuple[str, str], str]:
    groups = {}
    for row in rows:
        kind, _, number = row.name.rpartition("_")
        groups[row.machine, row.name] = f"{kind} {int(number) % recordings}"
    return groups


def test_the_interval_holds_the_score_and_is_repeatable() -> None:
    rows = system(0, 1.0) + system(1, 0.5, machine="valve")
    found = interval(rows, RULE, Options(300))
    assert found.score == pytest.approx(official_score(measure(rows)))
    assert found.low < found.score < found.high
    assert interval(rows[::-1], RULE, Options(300)) == found
    assert interval(rows, RULE, Options(300, seed=1)) != found


def test_the_spread_is_that_of_new_test_sets() -> None:
    fresh = [official_score(measure(system(seed, 1.0))) for seed in range(100)]
    widths = [interval(system(seed, 1.0), RULE, Options(200)) for seed in range(8)]
    width = float(np.mean([one.high - one.low for one in widths]))
    assert width == pytest.approx(4 * float(np.std(fresh)), rel=0.3)


def test_clips_of_one_recording_are_no_independent_evidence() -> None:
    rows = system(3, 1.0, recordings=5)
    alone = interval(rows, RULE, Options(300))
    together = interval(rows, RULE, Options(300, groups=recording_of(rows, 5)))
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_a_better_system_is_told_apart_on_the_same_clips() -> None:
    base = system(0, 0.8)
    better = [replace(row, score=row.score + 0.6 * (row.condition == "anomaly")) for row in base]
    found = compare(better, base, RULE, Options(300))
    assert found.official.low > 0
    assert found.official.p_value < 0.02
    assert found.machines["fan"].value == pytest.approx(found.official.value)
    back = compare(base, better, RULE, Options(300))
    assert back.official.high == pytest.approx(-found.official.low)


def test_paired_draws_are_sharper_than_separate_ones() -> None:
    base = system(0, 0.8)
    nearly = [replace(row, score=row.score + 0.05 * (row.condition == "anomaly")) for row in base]
    found = compare(nearly, base, RULE, Options(300)).official
    alone = interval(base, RULE, Options(300))
    assert found.high - found.low < 0.3 * (alone.high - alone.low)


def test_the_same_system_twice_has_no_difference() -> None:
    found = compare(system(0, 1.0), system(0, 1.0), RULE, Options(100)).official
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_recordings_are_read_from_a_list(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("fan\na.wav,r1\nb.wav,r1\nvalve\na.wav,r2\n")
    assert read_groups(path) == {("fan", "a.wav"): "r1", ("fan", "b.wav"): "r1", ("valve", "a.wav"): "r2"}
    path.write_text("a.wav,r1\n")
    with pytest.raises(UserError, match="line 1: expected a machine"):
        read_groups(path)
    with pytest.raises(UserError, match="no list of recordings"):
        read_groups(tmp_path / "absent.csv")
