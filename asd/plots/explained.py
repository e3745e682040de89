"""A picture of an explanation: the spectrogram with what raises the score laid over it, by band and by time.

The usual spectrum of the machine stands beside it, with that of the sound.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asd.plots.common import COLOURS, UNKNOWN, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from asd.inference.explanation import Explanation, Reals

_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)


def explanation(found: Explanation, path: Path) -> Path:
    """Draw an explanation as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 4.8), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=[4, 1.2, 1], height_ratios=[3, 1])
    sound = figure.add_subplot(grid[0, 0])
    levels = figure.add_subplot(grid[0, 1], sharey=sound)
    bands = figure.add_subplot(grid[0, 2], sharey=sound)
    spans = figure.add_subplot(grid[1, 0], sharex=sound)
    _spectrogram(sound, found)
    _spectra(levels, found)
    style: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.5}
    edges = found.band_edges
    bands.barh(edges[:-1], found.by_band, np.diff(edges), color=_colours(found.by_band), **style)
    bands.set_xlabel("raises the score by", fontsize=9)
    spans.bar(found.span_edges[:-1], found.by_span, np.diff(found.span_edges), color=_colours(found.by_span), **style)
    spans.set_xlabel("time in s", fontsize=9)
    spans.set_ylabel("raises the\nscore by", fontsize=9)
    for axes in (levels, bands, spans):
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (sound, levels, bands, spans):
        axes.tick_params(labelsize=8)
    sound.tick_params(labelbottom=False)
    for axes in (levels, bands):
        axes.tick_params(labelleft=False)
    figure.suptitle(_title(found), fontsize=11, parse_math=False)
    return save(figure, path)


def _colours(values: Reals) -> list[str]:
    return [COLOURS["target"] if value > 0 else UNKNOWN for value in values]


def _spectrogram(axes: Axes, found: Explanation) -> None:
    # Imported here: it takes a second.
    from librosa.display import specshow

    times = np.linspace(found.span_edges[0], found.span_edges[-1], found.level.shape[1] + 1)
    quiet = float(np.percentile(found.level, 5))
    place: dict[str, Any] = {"x_coords": times, "y_coords": found.level_edges, "x_axis": "s", "y_axis": "mel"}
    specshow(found.level, ax=axes, cmap="gray", vmin=quiet, vmax=0, **place)
    # Colour where band and time both raise the score, clear elsewhere.
    overlay = np.zeros((*found.contributions.shape, 4))
    overlay[..., :3] = np.array([213, 94, 0]) / 255
    overlay[..., 3] = 0.65 * found.contributions
    axes.pcolormesh(found.span_edges, found.band_edges, overlay)
    shown = [hertz for hertz in _TICKS_HZ if found.level_edges[0] <= hertz <= found.level_edges[-1]]
    axes.set_yticks(shown, [f"{hertz:g}" for hertz in shown])
    axes.set_yticks([], minor=True)
    axes.set_xlabel("")
    axes.set_ylabel("frequency in Hz", fontsize=9)


def _spectra(axes: Axes, found: Explanation) -> None:
    """The level of each band, as it is and as it usually is."""
    centres = (found.level_edges[1:] + found.level_edges[:-1]) / 2
    if len(found.usual):
        axes.plot(found.usual, centres, color=UNKNOWN, linestyle="--", linewidth=1.2, label="usual")
    axes.plot(found.spectrum, centres, color=COLOURS["source"], linewidth=1.2, label="this sound")
    axes.set_xlabel("level in dB", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _title(found: Explanation) -> str:
    low, high = found.band
    first, last = found.span
    lines = [
        f"{found.title}: score {found.score:.4g}, threshold {found.threshold:.4g}",
        f"most from {low:.0f} to {high:.0f} Hz, and from {first:.1f} to {last:.1f} s",
    ]
    if found.nearest:
        near = found.nearest[0]
        lines.append(f"nearest normal clip: {near.name} ({near.similarity:.2f})")
    return "\n".join(lines)
