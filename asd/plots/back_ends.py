"""A chart of back ends beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asd.plots.common import COLOURS, UNKNOWN, save

_MOST = 60


def back_end_chart(rows: Sequence[tuple[str, Sequence[float]]], path: Path) -> Path:
    """Draw official score, AUC of both domains and pAUC of each back end, best on top.

    Args:
        rows: Name, and official score, AUC source, AUC target and pAUC in percent, in the order they are drawn;
            beyond the first sixty they are left out.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    shown = rows[:_MOST]
    figure = Figure(figsize=(10, 1.2 + 0.22 * len(shown)), dpi=110, layout="constrained")
    axes = figure.subplots()
    places = list(range(len(shown)))
    marks = [("official score", 0, "black", "o"), ("AUC source", 1, COLOURS["source"], "s")]
    marks += [("AUC target", 2, COLOURS["target"], "^"), ("pAUC", 3, UNKNOWN, "d")]
    for label, column, colour, marker in marks:
        values = [row[1][column] for row in shown]
        axes.scatter(values, places, color=colour, marker=marker, s=22 if column else 34, label=label, zorder=3)
    axes.set_yticks(places, [row[0] for row in shown], fontsize=7)
    axes.tick_params(axis="x", labelsize=8)
    axes.invert_yaxis()
    axes.axvline(50, color=UNKNOWN, linewidth=0.8, linestyle=":")
    axes.grid(axis="y", linewidth=0.3)
    axes.set_xlabel("percent, harmonic means over machines", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return save(figure, path)
