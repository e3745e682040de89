"""The course of a training as a picture."""

from __future__ import annotations

from pathlib import Path

from asd.plots.common import grid, save
from asd.report.gather import Curves

_TITLES = {
    "train/loss": "training loss",
    "train/accuracy_machine": "training, right machine",
    "train/accuracy_attribute": "training, right class",
}


def training_curves(curves: Curves, path: Path, score: str = "official score") -> Path | None:
    """Draw loss, accuracies and `score`, which is what it is called, over the epochs; ``None`` without any."""
    from matplotlib.ticker import MaxNLocator

    titles = {**_TITLES, "val/official_score": f"validation, {score}"}
    shown = {title: curves[name] for name, title in titles.items() if curves.get(name)}
    if not shown:
        return None
    figure, panels = grid(list(shown), ("epoch", ""), (4.0, 2.6))
    for axes, points in zip(panels, shown.values(), strict=True):
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, marker="o", markersize=3, color="#0072B2")
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return save(figure, path)
