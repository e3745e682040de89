"""Normalisers: they wrap a scorer and make its scores comparable between regions and domains.

All that they learn comes from normal training clips, held out from the scorer that scores them.
"""

from __future__ import annotations

import copy
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import ReferenceScorer, Scorer, own_recordings
from asd.scoring.cluster_exit import within_cluster
from asd.scoring.conformal import Surprise
from asd.scoring.distances import Metric, distances, nearest, placed
from asd.scoring.neighbours import NeighboursScorer

Mode = Literal["ratio", "difference", "varmin", "log_varmin"]
Density = Literal["mean", "kth"]

_BLOCK = 4096
_SAME = 1e-6
"""Cosine distances below this are rounding: the two are one clip."""


class LocalDensity(Scorer):
    """Local-density normalisation: a distance counts by how near to one another the clips are where it is measured.

    The distance to each reference is divided by, or lessened by, the distance from that reference to its own nearest
    normal clips; the smallest result counts (Wilkinghoff et al. 2025, arXiv 2509.10951). Clips of a reference's own
    recording do not count as its neighbours: they lie so near that every other recording would look anomalous.

    With ``varmin``, the weight of what is subtracted is that which leaves the least variance among the normal clips,
    each against the references of other recordings (Matsumoto et al., DCASE Workshop 2025); with ``log_varmin``, so are
    logarithms of the distances, whose weight of one would be the ratio (arXiv 2603.04605).

    A scorer without references, such as a Gaussian, is normalised by the mean held-out score of the k normal clips
    that are nearest to the query.

    Args:
        scorer: What is normalised; ``None``: the nearest neighbour.
        mode: ``ratio``, ``difference``, ``varmin``, a difference of least variance (papers use k = 4), or
            ``log_varmin``, a difference of logarithms of least variance (k = 1).
        k: Number of neighbours that make the density.
        density: Mean distance to these neighbours, or the distance to the k-th of them.
        cluster_exit: Neighbours beyond the first gap in their distances do not count, so that a large `k`, such as 16
            to 64, does not leave the cluster of a reference; see `within_cluster`.
    """

    references: Tensor
    spacing: Tensor
    weight: Tensor

    def __init__(
        self,
        scorer: Scorer | None = None,
        mode: Mode = "ratio",
        k: int = 1,
        density: Density = "mean",
        cluster_exit: bool = False,
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode) or density not in get_args(Density) or k < 1:
            raise UserError(
                f"LocalDensity: mode is {mode!r}, density {density!r} and k {k}; choose of "
                f"{', '.join(get_args(Mode))}, of {', '.join(get_args(Density))}, and k of 1 or more"
            )
        self.scorer = NeighboursScorer() if scorer is None else copy.deepcopy(scorer)
        self.mode = mode
        self.k = k
        self.density = density
        self.cluster_exit = cluster_exit

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the scorer, and measure how dense the normal clips are around its references."""
        self.check_reference(embeddings)
        group = own_recordings(embeddings) if group is None else group
        self.scorer.fit(embeddings, target, group)
        metric = self._metric
        rows = placed(embeddings, metric)
        if isinstance(self.scorer, ReferenceScorer):
            references = self.scorer.references
            own = group if torch.equal(references, rows) else _recordings(references, rows, group, metric)
            away = nearest(references, rows, self.k, metric, (own, group))[0]
            spacing = self._spacing(away, away)
            raw, place = (part[:, 0] for part in nearest(rows, references, 1, metric, (group, own)))
        else:
            references = rows
            raw = held_out = self.scorer.held_out(embeddings, target, group)
            if self.mode in ("ratio", "log_varmin") and bool((held_out < 0).any()):
                raise UserError(
                    f"LocalDensity: {type(self.scorer).__name__} gives negative scores, whose ratios mean nothing; set "
                    "mode to difference"
                )
            away, near = nearest(rows, rows, self.k, metric, (group, group))
            spacing = self._spacing(held_out[near].masked_fill(away.isinf(), torch.inf), away)
            place = near[:, 0]
        self.remember(references=references, spacing=spacing)
        if self.mode in ("varmin", "log_varmin"):
            there = raw.isfinite()
            self.remember(weight=self._least_variance(raw[there], spacing[place[there]]))
        return self

    def _least_variance(self, raw: Tensor, spacing: Tensor) -> Tensor:
        """By how much of the spacings ``(n,)`` raw scores ``(n,)`` are lessened to vary least."""
        if self.mode == "log_varmin":
            raw, spacing = (part.clamp_min(self._floor()).log() for part in (raw, spacing))
        if len(raw) == 0:
            return raw.new_zeros(())
        # In float64, which not every device has: on the CPU.
        scores, density = raw.cpu().double(), spacing.cpu().double()
        variance = density.var(correction=0)
        if float(variance) <= 1e-12 * float(density.square().mean()):  # all alike: nothing to gain
            return raw.new_zeros(())
        return (((scores - scores.mean()) * (density - density.mean())).mean() / variance).to(raw)

    @property
    def _metric(self) -> Literal["cosine", "euclidean"]:
        return self.scorer.metric if isinstance(self.scorer, ReferenceScorer) else "cosine"

    def _spacing(self, away: Tensor, distance: Tensor) -> Tensor:
        """Scores and distances of neighbours ``(R, k)``, nearest first, infinite where there is none, to ``(R,)``."""
        known = away.isfinite()
        if self.cluster_exit:
            known &= torch.arange(away.shape[1], device=away.device) < within_cluster(distance)[:, None]
        if self.density == "kth":
            last = (known.sum(1) - 1).clamp_min(0)
            spacing = away.gather(1, last[:, None])[:, 0]
        else:
            spacing = away.where(known, 0).sum(1) / known.sum(1).clamp_min(1)
        lonely = ~known.any(1)
        usual = spacing[~lonely].median() if not bool(lonely.all()) else spacing.new_ones(())
        return spacing.where(~lonely, usual)

    def _floor(self) -> Tensor:
        """A thousandth of the usual spacing, and above rounding: identical clips leave no distance to divide by."""
        middle = self.spacing.abs().sort().values[(len(self.spacing) - 1) // 2]
        rounded = isinstance(self.scorer, ReferenceScorer) and self._metric == "cosine"
        return (1e-3 * torch.where(middle > 0, middle, 1.0)).clamp_min(_SAME if rounded else 0.0)

    def _normalised(self, scores: Tensor, spacing: Tensor) -> Tensor:
        if self.mode == "ratio":
            return scores / spacing.clamp_min(self._floor())
        if self.mode == "log_varmin":
            floor = self._floor()
            return scores.clamp_min(floor).log() - self.weight * spacing.clamp_min(floor).log()
        return scores - (self.weight * spacing if self.mode == "varmin" else spacing)

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to normalised scores ``(B,)``."""
        self.check_fitted()
        metric = self._metric
        rows = placed(embeddings, metric)
        if isinstance(self.scorer, ReferenceScorer):
            size = max(1, _BLOCK * 1024 // max(1, len(self.references)))
            blocks = [
                self._normalised(distances(part, self.references, metric), self.spacing).amin(1)
                for part in ([rows] if torch.compiler.is_exporting() else rows.split(size))
            ]
            return torch.cat(blocks) if blocks else rows.new_empty(0)
        scores: Tensor = self.scorer(embeddings)
        place = nearest(rows, self.references, 1, metric)[1][:, 0]
        return self._normalised(scores, self.spacing[place])


def _recordings(references: Tensor, rows: Tensor, group: Tensor, metric: Metric) -> Tensor:
    """The recording of each reference ``(R,)``: that of the clip which it is; -1 of a centre, which is none."""
    away, clip = nearest(references, rows, 1, metric)
    return torch.where(away[:, 0] <= _SAME, group[clip[:, 0]], -1)


class _ByDomain(Scorer):
    """One scorer of the source and one of the target clips, or one of all, each with a map fitted to held-out scores.

    The smallest mapped score counts: a clip is normal where one of the domains finds it normal.
    """

    def __init__(self, scorer: Scorer | None, by_domain: bool) -> None:
        super().__init__()
        prototype = NeighboursScorer() if scorer is None else scorer
        self.by_domain = by_domain
        self.source = copy.deepcopy(prototype)
        self.target = copy.deepcopy(prototype)

    def _parts(self, target: Tensor) -> list[tuple[Scorer, Tensor]]:
        everything = torch.ones_like(target, dtype=torch.bool)
        if not self.by_domain or bool(target.all()) or not bool(target.any()):
            return [(self.source, everything)]
        return [(self.source, ~target.bool()), (self.target, target.bool())]

    def _fit_parts(self, embeddings: Tensor, target: Tensor, group: Tensor | None) -> list[Tensor]:
        """Fit the scorers; returns the held-out scores of each part."""
        self.check_reference(embeddings)
        group = own_recordings(embeddings) if group is None else group
        held_out = []
        for scorer, part in self._parts(target):
            clips = embeddings[part], target[part], group[part]
            held_out.append(scorer.held_out(*clips))
            scorer.fit(*clips)
        return held_out

    def _scores(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the raw scores ``(P, B)`` of the fitted parts."""
        self.check_fitted()
        # Asked of the names, for a graph that is exported has no values yet: a fit leaves more than the flags.
        both = any(name.rpartition(".")[2] != "fitted" for name, _ in self.target.named_buffers())
        scorers = [self.source, self.target] if both else [self.source]
        return torch.stack([scorer(embeddings) for scorer in scorers])


class Standardised(_ByDomain):
    """Scores in standard deviations above the mean of the held-out scores of the normal clips, by domain.

    Args:
        scorer: What is standardised; ``None``: the nearest neighbour.
        by_domain: One scorer for each domain, of which the smaller standardised score counts.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, scorer: Scorer | None = None, by_domain: bool = True) -> None:
        super().__init__(scorer, by_domain)

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the scorers, and take mean and deviation of the held-out scores."""
        parts = self._fit_parts(embeddings, target, group)
        deviation = torch.stack([part.std(correction=0) for part in parts])
        self.remember(mean=torch.stack([part.mean() for part in parts]), deviation=deviation.clamp_min(1e-6))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to standardised scores ``(B,)``."""
        return ((self._scores(embeddings) - self.mean[:, None]) / self.deviation[:, None]).amin(0)


class ConformalMap(_ByDomain):
    """Scores as surprise among the held-out scores of the normal clips, by domain; see `Surprise`.

    Args:
        scorer: What is mapped; ``None``: the nearest neighbour.
        by_domain: One scorer for each domain, of which the smaller surprise counts.
    """

    source_knots: Tensor
    source_values: Tensor
    source_slope: Tensor
    target_knots: Tensor
    target_values: Tensor
    target_slope: Tensor

    def __init__(self, scorer: Scorer | None = None, by_domain: bool = True) -> None:
        super().__init__(scorer, by_domain)

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the scorers, and keep the held-out scores."""
        parts = [Surprise.of(part) for part in self._fit_parts(embeddings, target, group)]
        kept: dict[str, Tensor] = {}
        for name, part in zip(("source", "target"), parts, strict=False):
            kept |= {f"{name}_knots": part.knots, f"{name}_values": part.values, f"{name}_slope": part.slope}
        self.remember(**kept)
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to surprise ``(B,)``."""
        scores = self._scores(embeddings)
        maps = [Surprise(self.source_knots, self.source_values, self.source_slope)]
        if len(scores) == 2:
            maps.append(Surprise(self.target_knots, self.target_values, self.target_slope))
        return torch.stack([one(part) for one, part in zip(maps, scores, strict=True)]).amin(0)
