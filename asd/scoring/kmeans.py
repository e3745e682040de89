"""K-means: the distance to the nearest centre of the normal embeddings."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import ReferenceScorer
from asd.scoring.distances import Metric, check_metric, distances, placed
from asd.scoring.in_parts import of_each, parts
from asd.utils.precision import full_precision

Target = Literal["own_centres", "clustered"]

_SOME = 2**21
"""Numbers of the rows among which centres are found first, where there are many."""
_ROWS_A_CENTRE = 40
_PASSES = 10
_WORTH = 1e-3
"""Part by which a pass over all rows must lessen their distances to be worth another one."""
_DISTANCES = 2**26
"""Most that are computed at once; fewer clips are scored together."""


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
        mini_batch_above: Number of clips above which the best of the starts is found among some of them, and improved
            by a few passes over all, a batch at a time: no copy of the clips is made.
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
        return self._fit(torch.ones(len(target), dtype=torch.bool), embeddings, target)

    def _scores_of(self, out: Tensor, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        if type(self).fit is not KMeansScorer.fit:  # one's own, which takes the clips themselves
            return super()._scores_of(out, embeddings, target, group)
        # By their numbers: all clips but those held out are nearly all, which may be too many for a copy.
        fitted = copy.deepcopy(self)._fit(~out, embeddings, target)
        return of_each(embeddings, fitted, torch.nonzero(out).flatten())

    def _fit(self, used: Tensor, embeddings: Tensor, target: Tensor) -> Self:
        """Cluster the embeddings ``(N, E)`` that are used ``(N,)``."""
        self.check_reference(embeddings)
        used = used.cpu()
        apart = used & target.cpu().bool() if self.target == "own_centres" else torch.zeros_like(used)
        together = torch.nonzero(used & ~apart).flatten()
        found = [placed(embeddings[apart.to(embeddings.device)], self.metric)]
        if len(together) > self.mini_batch_above:
            found.insert(0, self._cluster_many(embeddings, together))
        elif len(together):
            rows = placed(embeddings[together.to(embeddings.device)], self.metric).cpu()
            found.insert(0, self._cluster(rows))
        self.remember(centres=torch.cat([one.cpu() for one in found]).to(embeddings.device))
        self._place()
        return self

    def _cluster_many(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Centres ``(k, E)`` of the embeddings of these numbers, by Lloyd's algorithm in parts.

        The start is found on the CPU, the passes over all where the embeddings lie.
        """
        generator = torch.Generator().manual_seed(self.seed)
        count = max(_SOME // embeddings.shape[1], _ROWS_A_CENTRE * self.k)
        chosen = index[torch.randperm(len(index), generator=generator)[:count].sort().values]
        rows = placed(embeddings[chosen.to(embeddings.device)], self.metric).cpu()
        middle = rows.mean(0)  # taken off, because products cancel badly where rows are far from zero
        centres = self._cluster(rows.sub_(middle), many=True)
        del rows
        middle, centres = middle.to(embeddings.device), centres.to(embeddings.device)
        length, before = 0.0, torch.inf
        for number in range(_PASSES):
            # In float64, which not every device has: on the CPU.
            sums = torch.zeros(centres.shape, dtype=torch.float64)
            clips = torch.zeros(len(centres), dtype=torch.int64)
            half, near = 0.5 * centres.square().sum(1), 0.0
            for _, some in parts(embeddings, index):
                rows = placed(some, self.metric).sub_(middle)
                with full_precision(rows):
                    product, own = torch.addmm(-half, rows, centres.mT).max(1)
                sums += torch.zeros_like(centres).index_add_(0, own, rows).cpu()
                clips += own.cpu().bincount(minlength=len(centres))
                near += float(product.sum())
                length += float(torch.linalg.vector_norm(rows)) ** 2 if number == 0 else 0.0
            found = torch.where(clips[:, None] > 0, sums / clips[:, None].clamp_min(1), centres.cpu()).float()
            centres = found.to(embeddings.device)
            away = max(length - 2 * near, 0.0)
            if before - away <= _WORTH * away:
                break
            before = away
        return centres + middle

    def _cluster(self, rows: Tensor, many: bool = False) -> Tensor:
        k = min(self.k, len(rows if many else rows.unique(dim=0)))
        # Not above: who scores does without, and starts a second sooner.
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # Fewer distinct rows than centres up to rounding: the spare centres coincide, which changes no distance.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Twice the memory for more digits, where there are few clips.
            values = (rows if many else rows.double()).numpy()
            fitted = KMeans(k, n_init=self.restarts, random_state=self.seed).fit(values)
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
        size = max(1, _DISTANCES // max(1, len(self.references)))
        if not torch.compiler.is_exporting() and len(embeddings) > size:
            return torch.cat([self(part) for part in embeddings.split(size)])
        return distances(placed(embeddings, self.metric), self.references, self.metric).amin(1)
