"""Pseudo-labels: clusters of embeddings in the place of attributes that are hidden."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score, silhouette_score
from sklearn.preprocessing import normalize

from asd.errors import Notice, UserError

Method = Literal["kmeans", "agglomerative"]
MOST_CLUSTERS = 16
LEAST_CLIPS = 20
"""A domain with fewer clips is one cluster: ten target clips tell too little to be divided."""

_DIMENSIONS = 32


@dataclass(frozen=True)
class Clusters:
    """The clusters of a machine's training clips.

    Attributes:
        labels: Of each clip: its domain and the number of its cluster, ``source_2``.
        sizes: Number of clips of each label.
        silhouette: Of the division of each domain, in [-1, 1]; how the number was chosen. Empty where it was given.
    """

    labels: tuple[str, ...]
    sizes: dict[str, int]
    silhouette: dict[str, float]


def pseudo_labels(
    embeddings: NDArray[np.float32],
    domains: Sequence[str],
    method: Method = "kmeans",
    clusters: float | None = None,
    seed: int = 0,
) -> Clusters:
    """Divide a machine's normal training clips into clusters, each domain by itself.

    Embeddings are scaled to unit length, centred and reduced to their 32 principal components. Where no number of
    clusters is given, it is the one from 2 to 16 of the highest silhouette (Rousseeuw 1987), which takes no labels.

    Args:
        embeddings: ``(N, E)``.
        domains: Of each clip; empty where it is not known.
        method: K-means, or agglomerative clustering with Ward's criterion.
        clusters: Number of clusters in each domain, or below 1 the part of its clips, at least one; ``None``: chosen.
        seed: Of K-means.

    Raises:
        UserError: An unknown method, or no such number of clusters.
    """
    if method not in get_args(Method):
        raise UserError(f"method is {method!r}; choose one of {', '.join(get_args(Method))}")
    if clusters is not None and not (0 < clusters < 1 or (clusters < math.inf and clusters == int(clusters) >= 1)):
        raise UserError(f"the number of clusters is {clusters:g}; give 1 or more, or a part of the clips below 1")
    labels = np.empty(len(domains), dtype=object)
    silhouette = {}
    for domain in sorted(set(domains)):
        rows = np.flatnonzero([one == domain for one in domains])
        numbers = np.zeros(len(rows), dtype=np.int64)
        if len(rows) >= LEAST_CLIPS:
            points = _points(embeddings[rows])
            if clusters is None:
                numbers, silhouette[domain] = _best(points, method, seed)
            else:
                count = max(1, int(clusters * len(points))) if clusters < 1 else int(clusters)
                numbers = _divide(points, min(count, len(np.unique(points, axis=0))), method, seed)
        labels[rows] = [f"{domain or 'unknown'}_{number}" for number in numbers]
    return Clusters(tuple(labels), dict(sorted(Counter(labels).items())), silhouette)


def agreement(labels: Sequence[str], truth: Sequence[str]) -> float:
    """Normalised mutual information of two labellings, 0 (none) to 1 (the same up to names)."""
    return float(normalized_mutual_info_score(list(truth), list(labels)))


def _points(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = normalize(embeddings.astype(np.float64))
    if np.ptp(rows, axis=0).max() < 1e-9:
        warnings.warn("all embeddings are the same: they make a single cluster", Notice, stacklevel=3)
        return np.zeros((len(rows), 1))
    points: NDArray[np.float64] = PCA(min(_DIMENSIONS, *rows.shape), random_state=0).fit_transform(rows)
    return points


def _divide(points: NDArray[np.float64], count: int, method: Method, seed: int) -> NDArray[np.int64]:
    model = KMeans(count, n_init=10, random_state=seed) if method == "kmeans" else AgglomerativeClustering(count)
    numbers: NDArray[np.int64] = model.fit_predict(points)
    return numbers


def _best(points: NDArray[np.float64], method: Method, seed: int) -> tuple[NDArray[np.int64], float]:
    best = np.zeros(len(points), dtype=np.int64), 0.0
    most = min(MOST_CLUSTERS, len(np.unique(points, axis=0)) - 1, len(points) // 4)
    for count in range(2, most + 1):
        numbers = _divide(points, count, method, seed)
        value = float(silhouette_score(points, numbers))
        if value > best[1]:
            best = numbers, value
    return best
