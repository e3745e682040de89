"""K-means: the distance to the nearest centre of the normal embeddings."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import ReferenceScorer
from asd.scoring.distances import Metric, check_metric, distances, placed

Target = Literal["own_centres", "clustered"]


class KMeansScorer(ReferenceScorer):
    """Distance to the nearest K-means centre.

    With the cosine metric, embeddings are brought to unit length before clustering; the centres stay as they are, means
    of unit vectors, and are compared by direction.

    Args:
        k: Number of centres; fewer where there are fewer distinct clips.
        metric: One minus the cosine, or the Euclidean distance.
        target: Every clip of the target domain is a centre of its own beside those of the source clips, because a few
            clips among many would get none; or all clips are clustered together.
        restarts: Starts of K-means, of which the best is kept.
        mini_batch_above: Number of clips above which mini-batch K-means is used.
        seed: Of the starts.
    """

    centres: Tensor
    references: Tensor

    def __init__(
        self,
        k: int = 16,
        metric: Metric = "cosine",
        target: Target = "own_centres",
        restarts: int = 4,
        mini_batch_above: int = 50_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if k < 1 or restarts < 1:
            raise UserError(f"KMeansScorer: k is {k} and restarts {restarts}; give 1 or more")
        check_metric(metric, "KMeansScorer")
        if target not in get_args(Target):
            raise UserError(f"KMeansScorer: target is {target!r}; choose one of {', '.join(get_args(Target))}")
        self.k = k
        self.metric = metric
        self.target = target
        self.restarts = restarts
        self.mini_batch_above = mini_batch_above
        self.seed = seed

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Cluster the normal clips."""
        self.check_reference(embeddings)
        rows = placed(embeddings, self.metric).cpu()
        apart = target.cpu().bool() if self.target == "own_centres" else torch.zeros(len(rows), dtype=torch.bool)
        parts = [rows[apart]]
        if bool((~apart).any()):
            parts.insert(0, self._cluster(rows[~apart]))
        self.remember(centres=torch.cat(parts).to(embeddings.device))
        self._place()
        return self

    def _cluster(self, rows: Tensor) -> Tensor:
        many = len(rows) > self.mini_batch_above
        k = self.k if many else min(self.k, len(rows.unique(dim=0)))
        # Not above: who scores does without, and starts a second sooner.
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        kind = MiniBatchKMeans if many else KMeans
        with warnings.catch_warnings():
            # Fewer distinct rows than centres up to rounding: the spare centres coincide, which changes no distance.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Twice the memory for more digits, where there are few clips.
            values = (rows if many else rows.double()).numpy()
            fitted = kind(k, n_init=self.restarts, random_state=self.seed).fit(values)
        return torch.from_numpy(fitted.cluster_centers_).float()

    def _place(self) -> None:
        # Follows from the centres, so no checkpoint holds it; found once, for it takes longer than the distances.
        self.register_buffer("references", placed(self.centres, self.metric), persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if prefix + "centres" in state_dict:
            self._place()

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the distances ``(B,)`` to the nearest centre."""
        self.check_fitted()
        return distances(placed(embeddings, self.metric), self.references, self.metric).amin(1)
