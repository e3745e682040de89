"""Pictures of scored clips, one panel per machine: score histograms, ROC and DET curves.

Colour tells the domain, filling or line style tells the condition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore, measure, named_sections
from asd.evaluation.metrics import MAX_FALSE_POSITIVE_RATE, area_under_roc
from asd.plots.common import COLOURS, UNKNOWN, Reals, common_legend, grid, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RATES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)


def score_histograms(rows: Sequence[ClipScore], path: Path) -> Path:
    """Draw how the scores of normal and anomalous clips of each domain are spread, and where alarms begin."""
    return _draw(rows, path, _histogram, "Anomaly scores", ("score", "clips"))


def roc_curves(rows: Sequence[ClipScore], path: Path) -> Path:
    """Draw the curves whose areas are the AUC of each domain; shaded: the part that counts for the pAUC."""
    return _draw(rows, path, _roc, "ROC: normal clips against all anomalies", ("false-alarm rate", "detection rate"))


def det_curves(rows: Sequence[ClipScore], path: Path) -> Path:
    """Draw misses over false alarms on normal-deviate axes, where Gaussian scores give straight lines."""
    return _draw(
        rows,
        path,
        _det,
        "DET: normal clips against all anomalies",
        ("false-alarm rate (%)", "miss rate (%)"),
    )


def _draw(
    rows: Sequence[ClipScore],
    path: Path,
    panel: Callable[[Axes, Sequence[ClipScore]], None],
    title: str,
    axes_titles: tuple[str, str],
) -> Path:
    sections = named_sections(rows)
    if not sections:
        raise UserError(f"{path}: no scored clip to draw")
    figure, panels = grid(list(sections), axes_titles)
    for axes, clips in zip(panels, sections.values(), strict=True):
        panel(axes, clips)
    figure.suptitle(title, fontsize=12)
    common_legend(figure)
    return save(figure, path)


def _label(clips: Sequence[ClipScore], domain: str, *others: str) -> str:
    """The domain and other words; without the domain where no clip has one, as one's own recordings have none."""
    return ", ".join([*([domain] if any(clip.domain for clip in clips) else []), *others])


def _histogram(axes: Axes, clips: Sequence[ClipScore]) -> None:
    scores = np.array([clip.score for clip in clips], dtype=np.float64)
    edges, beyond = _edges(scores)
    bins = edges.tolist()
    groups: dict[tuple[str, str | None], list[float]] = {}
    for clip in clips:
        domain = clip.domain or "source"
        groups.setdefault(("" if clip.condition is None else domain, clip.condition), []).append(clip.score)
    for (domain, condition), values in sorted(groups.items(), key=lambda item: (item[0][1] != "normal", item[0][0])):
        inside = np.clip(values, edges[0], edges[-1])
        colour = COLOURS.get(domain, UNKNOWN)
        if condition == "anomaly":
            label = _label(clips, domain, "anomaly")
            axes.hist(inside, bins, histtype="step", color=colour, linewidth=1.4, label=label)
        else:
            label = "label unknown" if condition is None else _label(clips, domain, "normal")
            axes.hist(inside, bins, color=colour, alpha=0.35, label=label)
    threshold = _threshold(clips)
    if threshold is not None and edges[0] <= threshold <= edges[-1]:
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1.0, label="decision threshold")
    if beyond:
        axes.text(0.98, 0.95, f"{beyond} beyond", ha="right", va="top", fontsize=7, transform=axes.transAxes)


def _edges(scores: Reals, bins: int = 25) -> tuple[Reals, int]:
    """Edges of the bins, and how many scores lie beyond: a few far outliers must not squeeze the rest into one bin."""
    low, high = float(scores.min()), float(scores.max())
    q1, q3 = np.quantile(scores, [0.25, 0.75])
    reach = 8.0 * float(q3 - q1)
    low, high = (max(low, q1 - reach), min(high, q3 + reach)) if reach > 0 else (low, high)
    edges = np.histogram_bin_edges(scores, bins, range=(low, high))
    return edges, int(((scores < low) | (scores > high)).sum())


def _threshold(clips: Sequence[ClipScore]) -> float | None:
    """Midway between the highest score without an alarm and the lowest with one, where the decisions say so."""
    quiet = [clip.score for clip in clips if clip.decision == 0]
    alarms = [clip.score for clip in clips if clip.decision == 1]
    if not quiet or not alarms or max(quiet) > min(alarms):
        return None
    return (max(quiet) + min(alarms)) / 2


def _domains(clips: Sequence[ClipScore]) -> Iterator[tuple[str, NDArray[np.bool_], Reals]]:
    """Conditions and scores that the AUC of each domain is measured on."""
    for domain in COLOURS:
        known = [c for c in clips if c.condition == "anomaly" or (c.condition and (c.domain or "source") == domain)]
        anomalous = np.array([clip.condition == "anomaly" for clip in known], dtype=bool)
        if anomalous.any() and not anomalous.all():
            yield domain, anomalous, np.array([clip.score for clip in known], dtype=np.float64)


def _roc(axes: Axes, clips: Sequence[ClipScore]) -> None:
    from sklearn.metrics import roc_curve

    axes.axvspan(0, MAX_FALSE_POSITIVE_RATE, color="black", alpha=0.07, linewidth=0, label="range of the pAUC")
    axes.plot([0, 1], [0, 1], color=UNKNOWN, linewidth=0.8, linestyle=":", label="chance")
    notes = []
    for domain, anomalous, scores in _domains(clips):
        false, true, _ = roc_curve(anomalous, scores, drop_intermediate=False)
        label = _label(clips, domain) or None
        axes.plot(false, true, color=COLOURS[domain], linewidth=1.5, linestyle=_dashes(domain), label=label)
        notes.append(f"{' '.join(filter(None, ('AUC', label)))} {100 * area_under_roc(anomalous, scores):.1f}")
    for one in measure(clips).values():
        notes += [f"pAUC {100 * one.pauc:.1f}"] if not math.isnan(one.pauc) else []
    # On a ground of its own: a poor curve runs through this corner.
    ground = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    axes.text(0.98, 0.04, "\n".join(notes or ["labels unknown"]), ha="right", va="bottom", fontsize=7, bbox=ground)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")


def _det(axes: Axes, clips: Sequence[ClipScore]) -> None:
    from scipy.stats import norm
    from sklearn.metrics import det_curve

    low, high = float(norm.ppf(0.004)), float(norm.ppf(0.996))
    for domain, anomalous, scores in _domains(clips):
        false, missed, _ = det_curve(anomalous, scores)
        x, y = (np.clip(norm.ppf(rates), low, high) for rates in (false, missed))
        label = _label(clips, domain) or None
        axes.plot(x, y, color=COLOURS[domain], linewidth=1.5, linestyle=_dashes(domain), label=label)
    axes.plot([low, high], [high, low], color=UNKNOWN, linewidth=0.8, linestyle=":", label="chance")
    ticks = [float(norm.ppf(rate)) for rate in _RATES]
    names = [f"{100 * rate:g}" for rate in _RATES]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def _dashes(domain: str) -> str:
    return "-" if domain == "source" else "--"
