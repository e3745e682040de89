"""Outlier detectors of scikit-learn, scored in torch."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import Scorer, own_recordings
from asd.scoring.distances import Metric, check_metric, distances, nearest, placed
from asd.utils.precision import full_precision

# Of scikit-learn's trees, which are grown on 256 clips at most; a leaf is its own child.
_DEEPEST = 8
_TINY = 1e-10


class LocalOutlierFactorScorer(Scorer):
    """Local outlier factor: how much sparser a clip's surroundings are than those of its neighbours (Breunig 2000).

    Args:
        k: Number of neighbours; fewer where there are fewer clips.
        metric: One minus the cosine, or the Euclidean distance.
    """

    references: Tensor
    reach: Tensor
    density: Tensor

    def __init__(self, k: int = 20, metric: Metric = "cosine") -> None:
        super().__init__()
        check_metric(metric, "LocalOutlierFactorScorer")
        if k < 1:
            raise UserError(f"LocalOutlierFactorScorer: k is {k}; give 1 or more")
        self.k = k
        self.metric = metric

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Keep the clips, the distance to the k-th neighbour of each, and their local densities."""
        self.check_reference(embeddings)
        self.check_number("k", self.k, max(1, len(embeddings) - 1))
        rows = placed(embeddings, self.metric)
        own = own_recordings(rows)
        away, place = nearest(rows, rows, max(1, min(self.k, len(rows) - 1)), self.metric, (own, own))
        if len(rows) == 1:
            away = torch.zeros_like(away)
        reach = away[:, -1]
        density = 1 / (torch.maximum(away, reach[place]).mean(1) + _TINY)
        self.remember(references=rows, reach=reach, density=density)
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the factors ``(B,)``; about 1 for a normal clip."""
        self.check_fitted()
        k = max(1, min(self.k, len(self.references) - 1))
        away, place = nearest(placed(embeddings, self.metric), self.references, k, self.metric)
        own = 1 / (torch.maximum(away, self.reach[place]).mean(1) + _TINY)
        return self.density[place].mean(1) / own


class OneClassSVMScorer(Scorer):
    """Distance to the boundary of a one-class support vector machine with a Gaussian kernel (Scholkopf 2001).

    Embeddings are standardised column by column first.

    Args:
        nu: Upper bound of the part of normal clips beyond the boundary.
        gamma: Inverse width of the kernel; ``None``: one over the number of columns.
    """

    mean: Tensor
    scale: Tensor
    vectors: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, nu: float = 0.1, gamma: float | None = None) -> None:
        super().__init__()
        if not 0 < nu <= 1 or (gamma is not None and not 0 < gamma < math.inf):
            raise UserError(f"OneClassSVMScorer: nu is {nu} and gamma {gamma}; give nu in (0, 1] and gamma above 0")
        self.nu = nu
        self.gamma = gamma

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the boundary."""
        self.check_reference(embeddings)
        rows = embeddings.detach().cpu().double()
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        scale = torch.where(scale > _TINY, scale, 1.0)
        machine = OneClassSVM(nu=self.nu, gamma=self._gamma(rows.shape[1])).fit(((rows - mean) / scale).numpy())
        kept = {
            "mean": mean,
            "scale": scale,
            "vectors": torch.from_numpy(machine.support_vectors_),
            "weights": torch.from_numpy(machine.dual_coef_[0]),
            "offset": torch.tensor(float(machine.intercept_[0])),
        }
        self.remember(**{name: value.float().to(embeddings.device) for name, value in kept.items()})
        return self

    def _gamma(self, width: int) -> float:
        return 1 / width if self.gamma is None else self.gamma

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the negative distances ``(B,)`` to the boundary: positive outside."""
        self.check_fitted()
        with full_precision(embeddings):
            rows = (embeddings.float() - self.mean) / self.scale
            kernel = (-self._gamma(rows.shape[1]) * distances(rows, self.vectors, "euclidean").square()).exp()
            return -(kernel @ self.weights + self.offset)


class IsolationForestScorer(Scorer):
    """Isolation forest: how few random cuts isolate a clip (Liu et al. 2008).

    Args:
        trees: Number of trees.
        seed: Of the cuts.
    """

    feature: Tensor
    cut: Tensor
    branches: Tensor
    depth: Tensor
    usual: Tensor

    def __init__(self, trees: int = 100, seed: int = 0) -> None:
        super().__init__()
        if trees < 1:
            raise UserError(f"IsolationForestScorer: trees is {trees}; give 1 or more")
        self.trees = trees
        self.seed = seed

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Grow the trees."""
        self.check_reference(embeddings)
        forest = IsolationForest(n_estimators=self.trees, random_state=self.seed).fit(
            embeddings.detach().float().cpu().numpy()
        )
        trees = [one.tree_ for one in forest.estimators_]
        nodes = max(tree.node_count for tree in trees)
        columns = list(forest.estimators_features_)
        feature = torch.stack(
            [_padded(used[np.maximum(tree.feature, 0)], nodes) for tree, used in zip(trees, columns, strict=True)]
        )
        kept = {
            "feature": feature,
            "cut": _below(torch.stack([_padded(tree.threshold, nodes) for tree in trees])),
            "branches": torch.stack([_children(tree, nodes) for tree in trees]),
            "depth": torch.stack([_padded(_depths(tree), nodes) for tree in trees]).float(),
            "usual": torch.from_numpy(_usual_depth(np.array([forest.max_samples_])))[0].float(),
        }
        self.remember(**{name: value.to(embeddings.device) for name, value in kept.items()})
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to scores ``(B,)`` in (0, 1)."""
        self.check_fitted()
        rows = embeddings.float()
        tree = torch.arange(len(self.feature), device=rows.device)[None]
        node = torch.zeros(rows.shape[0], tree.shape[1], dtype=torch.int64, device=rows.device)
        for _ in range(_DEEPEST):
            right = rows.gather(1, self.feature[tree, node]) > self.cut[tree, node]
            node = self.branches[tree, node, right.long()]
        depth = self.depth[tree, node].mean(1)
        return 2 ** (-depth / self.usual.clamp_min(1.0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Checkpoints from before devices without float64 were thought of.
        for name, narrow in (("cut", _below), ("depth", Tensor.float), ("usual", Tensor.float)):
            if prefix + name in state_dict:
                state_dict[prefix + name] = narrow(state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _below(cut: Tensor) -> Tensor:
    """The greatest float32 that is not above a cut: a float32 is above both or above neither.

    Trees are grown on float32 values with float64 cuts, and not every device has float64.
    """
    cut = cut.cpu()
    near = cut.float()
    return torch.where(near.to(cut.dtype) > cut, near.nextafter(torch.tensor(-torch.inf)), near)


def _padded(values: Any, length: int) -> Tensor:
    out = torch.zeros(length, dtype=torch.from_numpy(np.asarray(values)).dtype)
    out[: len(values)] = torch.from_numpy(np.array(values))
    return out


def _children(tree: Any, nodes: int) -> Tensor:
    """``(nodes, 2)``: left and right child; a leaf is its own child."""
    own = np.arange(tree.node_count)
    pairs = np.stack([tree.children_left, tree.children_right], axis=1)
    pairs = np.where(pairs < 0, own[:, None], pairs)
    out = torch.arange(nodes)[:, None].repeat(1, 2)
    out[: tree.node_count] = torch.from_numpy(pairs)
    return out


def _depths(tree: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Depth of each node, and for a leaf with several clips the cuts that would part them."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children come after their parents
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    total: np.ndarray[Any, np.dtype[np.float64]] = depth + _usual_depth(tree.n_node_samples)
    return total


def _usual_depth(clips: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean depth of an unsuccessful search in a binary tree of so many clips."""
    n = np.asarray(clips, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    usual: np.ndarray[Any, np.dtype[np.float64]] = np.where(n <= 1, 0.0, np.where(n == 2, 1.0, mean))
    return usual
