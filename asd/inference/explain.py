"""Explanation by occlusion: a band, or a span of time, is made as usual for the machine, and the window scored again.

Sound is changed, not what an encoder makes of it, so that it works for every encoder and scorer, in Hz and seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asd.inference.explanation import Neighbour, Reals
from asd.scoring import spectrum
from asd.scoring.normal_clips import NormalClips

BANDS = 16
_LOWEST_HZ = 50.0
_SPAN_SECONDS = 1.0
_LEAST_SPANS, _MOST_SPANS = 8, 12
_BANDS_DRAWN = 64
_LEAST_DB = -100.0
_SHOWN, _COMPARED = 3, 10
_QUIETER = 10 ** (-30 / 20)


def band_edges(sample_rate: int, bands: int = BANDS) -> Reals:
    """``(bands + 1,)`` Hz, even on the mel scale up to half the sample rate."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, sample_rate / 2))
    return np.asarray(700 * (10 ** (np.linspace(low, high, bands + 1) / 2595) - 1), np.float32)


def span_edges(seconds: float) -> Reals:
    """``(S + 1,)`` seconds: spans of about a second, but 8 to 12 of them."""
    spans = min(max(round(seconds / _SPAN_SECONDS), _LEAST_SPANS), _MOST_SPANS)
    return np.linspace(0, seconds, spans + 1, dtype=np.float32)


def occlude(
    window: Tensor, score: Callable[[Tensor], Tensor], sample_rate: int, usual: Tensor, seconds: float
) -> tuple[Reals, Reals]:
    """By how much the score falls where a band, or a span of time, is made as usual.

    Args:
        window: ``(T,)``.
        score: ``(B, T)`` to scores ``(B,)``.
        sample_rate: Hz.
        usual: ``(F,)`` level of each frequency of normal sound, as `mean_level` has it; empty: parts are
            made 30 dB quieter instead.
        seconds: Length of the sound in the window, which is padded by repeating it.

    Returns:
        ``(BANDS,)`` and ``(S,)``.
    """
    sound = spectrum.spectrogram(window[None], sample_rate)[0]
    magnitude = sound.abs().clamp_min(1e-9)
    change = (
        (usual.to(window.device).exp()[:, None] / magnitude) if len(usual) else torch.full_like(magnitude, _QUIETER)
    )
    rows, columns = _members(sound.shape, sample_rate, seconds)
    masks = [row[:, None] for row in rows] + [column[None] for column in columns]
    changed = (torch.where(mask.to(window.device), change, 1.0) * sound for mask in masks)
    waveforms = torch.stack([spectrum.waveform_of(one[None], sample_rate, len(window))[0] for one in changed])
    falls = (score(window[None]) - score(waveforms)).cpu().numpy().astype(np.float32)
    return falls[: len(rows)], falls[len(rows) :]


def _members(shape: torch.Size, sample_rate: int, seconds: float) -> tuple[list[Tensor], list[Tensor]]:
    """Which of the frequencies belong to each band, and which of the frames to each span."""
    size = spectrum.window_size(sample_rate)
    hertz = torch.arange(shape[0]) * sample_rate / size
    band = torch.bucketize(hertz, torch.from_numpy(band_edges(sample_rate)[1:-1]), right=True)
    time = (torch.arange(shape[1]) * (size // 4) / sample_rate) % seconds
    edges = span_edges(seconds)
    span = torch.bucketize(time, torch.from_numpy(edges[1:-1]), right=True)
    return [band == number for number in range(BANDS)], [span == number for number in range(len(edges) - 1)]


class Drawn(NamedTuple):
    """What is drawn of a window; the fields of `asd.inference.Explanation` of these names."""

    level: Reals
    level_edges: Reals
    spectrum: Reals
    usual: Reals


def drawn(window: Tensor, sample_rate: int, seconds: float, usual: Tensor) -> Drawn:
    """The spectrogram of the first `seconds` of a window ``(T,)``, its spectrum and the usual one.

    Args:
        window: The samples.
        sample_rate: Hz.
        seconds: As in `occlude`.
        usual: As in `occlude`; where it is empty, so is what comes of it.
    """
    sound = window[: max(1, round(seconds * sample_rate))].cpu()
    power = spectrum.spectrogram(sound[None], sample_rate, overlap=2)[0].abs().square().numpy()
    level = _below_loudest(10 * np.log10(np.maximum(_in_bands(power, sample_rate), 1e-12)))
    known = [spectrum.mean_level(window[None].cpu(), sample_rate)[0], *([usual] if len(usual) else [])]
    logarithms = np.stack([one.float().cpu().numpy() for one in known], axis=1)
    both = _below_loudest(_in_bands(20 / math.log(10) * logarithms, sample_rate))
    nothing = np.empty(0, np.float32)
    return Drawn(level, band_edges(sample_rate, _BANDS_DRAWN), both[:, 0], both[:, 1] if len(usual) else nothing)


def _below_loudest(decibels: NDArray[np.floating]) -> Reals:
    found: Reals = np.maximum(decibels - decibels.max(), _LEAST_DB).astype(np.float32)
    return found


def _in_bands(values: NDArray[np.floating], sample_rate: int) -> NDArray[np.floating]:
    """``(F, N)`` by frequency to ``(K, N)``: means over the bands that are drawn."""
    edges = band_edges(sample_rate, _BANDS_DRAWN)
    hertz = np.arange(len(values)) * sample_rate / spectrum.window_size(sample_rate)
    centres = (edges[1:] + edges[:-1]) / 2
    # Low bands are narrower than a bin: those take what lies at their centre.
    rows = [values[(hertz >= low) & (hertz < high)] for low, high in pairwise(edges)]
    means = [
        row.mean(0) if len(row) else values[np.abs(hertz - centre).argmin()]
        for row, centre in zip(rows, centres, strict=True)
    ]
    return np.stack(means)


def likeness(embedding: Tensor, clips: NormalClips) -> tuple[tuple[Neighbour, ...], dict[str, float]]:
    """The normal clips nearest to an embedding ``(E,)``, and the attributes of those around it."""
    facts = clips.names_and_attributes
    if not facts:
        return (), {}
    similarity = F.normalize(clips.embeddings.float()) @ F.normalize(embedding.float(), dim=0)
    near = similarity.topk(min(_COMPARED, len(facts)))
    shown = zip(near.indices.tolist()[:_SHOWN], near.values.tolist(), strict=False)
    counts = Counter(facts[row][1] for row in near.indices.tolist() if facts[row][1])
    return (
        tuple(Neighbour(facts[row][0], facts[row][1], value) for row, value in shown),
        {name: count / counts.total() for name, count in counts.most_common()},
    )
