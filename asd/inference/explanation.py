"""What makes a score: the parts of a recording that raise it, and the normal sound it is most like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A normal clip.

    Attributes:
        name: Of its file.
        attributes: Its attribute string; empty where hidden or absent.
        similarity: Cosine of the angle between the embeddings, at most 1.
    """

    name: str
    attributes: str
    similarity: float


@dataclass(frozen=True)
class Explanation:
    """Why the most anomalous window of a recording scores as it does.

    Attributes:
        name: Path of the file; empty for samples.
        machine: The machine it was compared with, by the name of machine and section.
        title: What people call it: by the machine alone, where that has one section.
        start: Where the window begins in the recording, in seconds.
        score: Of the window.
        threshold: Scores above it are anomalous.
        band_edges: ``(M + 1,)`` Hz, the bands that contributions are given for.
        span_edges: ``(S + 1,)`` seconds from the beginning of the recording.
        by_band: ``(M,)`` by how much the score falls where a band is as usual; negative where it rises.
        by_span: ``(S,)`` the same of the spans of time.
        level: ``(K, F)`` mel spectrogram of the window in dB, lowest band first, for drawing.
        level_edges: ``(K + 1,)`` Hz, the bands of `level`.
        spectrum: ``(K,)`` mean level of the window in those bands, in dB below the loudest of it and of `usual`.
        usual: ``(K,)`` the same of the normal clips; empty where the checkpoint keeps none.
        nearest: The most similar normal clips, nearest first; empty where the checkpoint keeps none.
        resembles: Part, out of 1, of each attribute string among the nearest normal clips, largest first.
    """

    name: str
    machine: str
    title: str
    start: float
    score: float
    threshold: float
    band_edges: Reals
    span_edges: Reals
    by_band: Reals
    by_span: Reals
    level: Reals
    level_edges: Reals
    spectrum: Reals
    usual: Reals
    nearest: tuple[Neighbour, ...]
    resembles: dict[str, float]

    @property
    def contributions(self) -> Reals:
        """``(M, S)`` from 0 to 1: how far both the band and the span of time raise the score."""
        return np.outer(_share(self.by_band), _share(self.by_span))

    @property
    def band(self) -> tuple[float, float]:
        """The band that raises the score most, in Hz."""
        return _interval(self.band_edges, self.by_band)

    @property
    def span(self) -> tuple[float, float]:
        """The span of time that raises the score most, in seconds from the beginning of the recording."""
        return _interval(self.span_edges, self.by_span)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "machine": self.machine,
            "start": self.start,
            "score": self.score,
            "threshold": self.threshold,
            "band_edges_hz": _rounded(self.band_edges),
            "span_edges_s": _rounded(self.span_edges),
            "by_band": _rounded(self.by_band),
            "by_span": _rounded(self.by_span),
            "nearest": [vars(one) for one in self.nearest],
            "resembles": self.resembles,
        }


def _interval(edges: Reals, values: Reals) -> tuple[float, float]:
    most = int(values.argmax())
    return float(edges[most]), float(edges[most + 1])


def _share(values: Reals) -> Reals:
    raising = values.clip(0)
    return np.asarray(raising / max(float(raising.max()), 1e-12))


def _rounded(values: Reals) -> list[float]:
    # Six digits hold all that a contribution means, at a third of the length.
    return [float(f"{value:.6g}") for value in values.tolist()]
