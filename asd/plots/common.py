"""What all pictures share: colours, panels, legend, and files written whole or not at all.

Matplotlib loads on demand. Blue and orange are those of the Okabe-Ito palette, which colour-blind readers tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asd.utils.files import written

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"source": "#0072B2", "target": "#D55E00"}
UNKNOWN = "#777777"
_MOST_COLUMNS = 5
Reals = NDArray[np.float64]


def grid(
    names: Sequence[str], axes_titles: tuple[str, str], panel_size: tuple[float, float] = (2.9, 2.5)
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel for each name.

    Args:
        names: Titles of the panels, at least one.
        axes_titles: Titles of the axes, shown at the outer panels alone.
        panel_size: Width and height of a panel in inches.
    """
    from matplotlib.figure import Figure

    columns = min(_MOST_COLUMNS, math.ceil(math.sqrt(len(names))))
    lines = math.ceil(len(names) / columns)
    width, height = panel_size
    # A figure of its own rather than pyplot's: no global state, no display.
    figure = Figure(figsize=(max(5.0, width * columns), 0.9 + height * lines), dpi=110, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    used = list(panels.flat[: len(names)])
    for number, (name, axes) in enumerate(zip(names, used, strict=True)):
        # The last line may not be full.
        axes.set_xlabel(axes_titles[0] if number + columns >= len(names) else "", fontsize=8)
        axes.set_ylabel(axes_titles[1] if number % columns == 0 else "", fontsize=8)
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, used


def common_legend(figure: Figure) -> None:
    """One legend below the panels, of all that any panel shows."""
    shown: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if shown:
        # An inch and a half holds the longest label.
        columns = max(1, min(len(shown), int(figure.get_figwidth() / 1.5)))
        handles, labels = list(shown.values()), list(shown)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name may hold dollars
    with written(path) as place:
        FigureCanvasAgg(figure).print_png(place)  # type: ignore[no-untyped-call]  # draws once, `savefig` twice
    return path
