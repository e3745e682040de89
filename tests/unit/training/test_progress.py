"""A run says how long it takes, and in a log now and then how far it is."""

from __future__ import annotations

import itertools
import logging
import math
import re
from pathlib import Path

import pytest

from asd.errors import UserError
from asd.training import Progress, progress
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer


@pytest.fixture
def seconds_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the clock sees 4 s more than the last one."""
    clock = itertools.count(1000.0, 4.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))


def said(run: SmallRun, folder: Path, caplog: pytest.LogCaptureFixture, shown: Progress, **options: int) -> list[str]:
    trainer = small_trainer(folder, **{"max_epochs": 3, "num_sanity_val_steps": 0, **options}, callbacks=[shown])
    with caplog.at_level(logging.INFO, "asd"):
        trainer.fit(small_model(), datamodule=small_data(run.data.root))
        trainer.test(small_model(), datamodule=small_data(run.data.root), verbose=False)
    return [one for one in caplog.messages if re.match(r"training takes|epoch|validation|test", one)]


def test_a_log_has_lines(small_run: SmallRun, tmp_path: Path, caplog, seconds_each: None) -> None:
    lines = said(small_run, tmp_path, caplog, Progress(20.0))
    (first,) = [one for one in lines if one.startswith("training")]
    assert re.fullmatch(r"training takes about \d+ (s|min) more at this pace, until .+", first)
    steps = [one for one in lines if one.startswith("epoch")]
    assert steps
    assert all(re.fullmatch(r"epoch \d of 3, step \d+ of \d+: loss [\d.]+, about \d+ \w+ left", one) for one in steps)
    assert any(re.match(r"validation: batch \d+ of \d+, about \d+ s left", one) for one in lines)
    assert any(re.match(r"test: batch \d+ of \d+, about \d+ s left", one) for one in lines)


def test_where_bars_are_seen_it_says_the_time_alone(
    small_run: SmallRun, tmp_path: Path, caplog, seconds_each: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_watched", lambda: True)
    (line,) = said(small_run, tmp_path, caplog, Progress(20.0))
    assert line.startswith("training takes about")


def test_a_run_of_seconds_says_nothing(small_run: SmallRun, tmp_path: Path, caplog) -> None:
    assert said(small_run, tmp_path, caplog, Progress(), limit_train_batches=2) == []


def test_it_can_be_silent(small_run: SmallRun, tmp_path: Path, caplog, seconds_each: None) -> None:
    assert said(small_run, tmp_path, caplog, Progress(0.0)) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (40.4, "40 s"),
        (89, "89 s"),
        (725, "12 min"),
        (5340, "89 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_intervals_without_a_meaning_are_refused(seconds: float) -> None:
    with pytest.raises(UserError, match=r"progress\.seconds is"):
        Progress(seconds)
