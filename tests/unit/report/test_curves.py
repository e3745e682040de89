"""The course of a training: a panel for each of what was logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.plots.common import grid
from asd.report import curves


def test_losses_accuracies_and_scores_have_a_panel_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(curves, "grid", lambda names, *rest: titles.extend(names) or grid(names, *rest))
    names = ("train/loss", "train/accuracy_machine", "train/accuracy_attribute", "val/official_score", "lr-Adam")
    points = {name: [(0, 0.5), (1, 0.75)] for name in names}
    assert curves.training_curves(points, tmp_path / "curves.png") == tmp_path / "curves.png"
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert titles == ["training loss", "training, right machine", "training, right class", "validation, official score"]
    assert curves.training_curves({"lr-Adam": [(0, 0.1)]}, tmp_path / "none.png") is None
