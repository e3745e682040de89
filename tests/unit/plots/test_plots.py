"""Pictures: whole files, every machine in them, and nothing that a user's scores could break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from asd import plots
from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore

DRAW = [plots.score_histograms, plots.roc_curves, plots.det_curves]


def rows(machine: str = "fan", gain: float = 1.0, threshold: float | None = 0.5) -> list[ClipScore]:
    generator = np.random.default_rng(0)
    found = []
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            for number in range(10):
                score = float(generator.normal()) + gain * (condition == "anomaly")
                decision = None if threshold is None else int(score > threshold)
                found.append(
                    ClipScore(f"{domain}{condition}{number}", machine, "00", score, decision, domain, condition)
                )
    return found


@pytest.mark.parametrize("draw", DRAW)
def test_every_machine_gets_its_panel(draw, drawn: list[Figure], tmp_path: Path) -> None:
    path = draw([row for name in ("fan", "valve", "slider") for row in rows(name)], tmp_path / "new" / "picture.png")
    assert [axes.get_title() for axes in drawn[0].axes if axes.axison] == ["fan", "slider", "valve"]
    assert image.imread(path).std() > 0
    assert [one.name for one in path.parent.iterdir()] == ["picture.png"]


def test_domain_and_condition_can_be_told_apart(drawn: list[Figure], tmp_path: Path) -> None:
    plots.score_histograms(rows(), tmp_path / "picture.png")
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    kinds = {f"{domain}, {condition}" for domain in ("source", "target") for condition in ("normal", "anomaly")}
    assert set(labels) == kinds | {"decision threshold"}


def test_the_threshold_lies_between_quiet_and_alarm(drawn: list[Figure], tmp_path: Path) -> None:
    plots.score_histograms(rows(threshold=0.5), tmp_path / "a.png")
    scores = np.array([row.score for row in rows()])
    x = drawn[0].axes[0].lines[0].get_xdata()[0]
    assert scores[scores <= 0.5].max() < x < scores[scores > 0.5].min()
    plots.score_histograms(rows(threshold=None), tmp_path / "b.png")
    assert not drawn[1].axes[0].lines


def test_outliers_do_not_squeeze_the_rest(drawn: list[Figure], tmp_path: Path) -> None:
    far = [ClipScore(f"far{n}", "fan", "00", 1e6, 1, "source", "anomaly") for n in range(3)]
    plots.score_histograms([*rows(), *far], tmp_path / "picture.png")
    axes = drawn[0].axes[0]
    assert axes.get_xlim()[1] < 100
    assert [text.get_text() for text in axes.texts] == ["3 beyond"]


def test_roc_curves_carry_the_values_of_the_table(drawn: list[Figure], tmp_path: Path) -> None:
    plots.roc_curves(rows(gain=50.0), tmp_path / "picture.png")
    assert drawn[0].axes[0].texts[0].get_text() == "AUC source 100.0\nAUC target 100.0\npAUC 100.0"


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize(
    "odd",
    [
        [ClipScore("a.wav", "fan", "00", 1.0)],
        [ClipScore(f"{n}.wav", "fan", "00", 2.5, 1, "source", "normal") for n in range(4)],
        [ClipScore(f"{n}.wav", "fan", "00", 1e30 * n, 0, None, "anomaly" if n % 2 else "normal") for n in range(4)],
        [ClipScore("a.wav", "fan_$x^{$", "00", 0.0, None, "target", "anomaly")],
    ],
    ids=["no label", "equal scores", "huge scores", "odd name"],
)
def test_odd_scores_are_drawn(draw, odd: list[ClipScore], tmp_path: Path) -> None:
    assert draw(odd, tmp_path / "picture.png").stat().st_size > 1000


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scored clip"):
        plots.roc_curves([], tmp_path / "picture.png")


@pytest.mark.parametrize("draw", DRAW)
def test_clips_of_no_domain_are_not_said_to_have_one(draw, drawn: list[Figure], tmp_path: Path) -> None:
    draw([replace(row, domain=None) for row in rows()], tmp_path / "picture.png")
    axes = drawn[0].axes[0]
    told = [text.get_text() for text in [*drawn[0].legends[0].get_texts(), *axes.texts]]
    assert told
    assert not any("source" in text or "target" in text for text in told)
