"""Distances between many embeddings in bounded memory."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from asd.errors import UserError
from asd.utils.precision import full_precision

Metric = Literal["cosine", "euclidean"]

_QUERIES = 1024
_REFERENCES = 16384


def check_metric(metric: str, name: str) -> None:
    """Raise `UserError` for a metric that is none."""
    if metric not in get_args(Metric):
        raise UserError(f"{name}: metric is {metric!r}; choose one of {', '.join(get_args(Metric))}")


def placed(embeddings: Tensor, metric: Metric) -> Tensor:
    """Embeddings as they are compared: ``(N, E)`` float32, of unit length for the cosine metric."""
    rows = embeddings.detach().float()
    return F.normalize(rows) if metric == "cosine" else rows


def distances(queries: Tensor, references: Tensor, metric: Metric) -> Tensor:
    """``(B, E)`` and ``(N, E)``, both `placed`, to ``(B, N)``: one minus the cosine, or the Euclidean distance."""
    with full_precision(queries):
        if metric == "cosine":
            return (1 - queries @ references.mT).clamp_min(0)
        if torch.compiler.is_exporting():  # ONNX knows no cdist
            return (queries[:, None] - references).square().sum(2).sqrt()
        # The matrix-product form cancels badly where distances are small.
        return torch.cdist(queries, references, compute_mode="donot_use_mm_for_euclid_dist")


def nearest(
    queries: Tensor,
    references: Tensor,
    k: int,
    metric: Metric,
    groups: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The `k` nearest references of each query, ascending, by one matrix product a block.

    Args:
        queries: ``(B, E)``, `placed`.
        references: ``(N, E)``, `placed`.
        k: How many; fewer where there are fewer references.
        metric: How they are compared.
        groups: Recording of each query ``(B,)`` and of each reference ``(N,)``: references of a query's own recording
            do not count.

    Returns:
        Distances ``(B, k)``, infinite where no reference is left, and their rows ``(B, k)``.
    """
    k = min(k, len(references))
    if torch.compiler.is_exporting():  # the number of queries is not known then; whoever runs the graph keeps it small
        return _nearest_of_block(queries, 0, references, k, metric, groups)
    found = [
        _nearest_of_block(queries[at : at + _QUERIES], at, references, k, metric, groups)
        for at in range(0, len(queries), _QUERIES)
    ]
    if not found:
        return queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=queries.device)
    return torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])


def _nearest_of_block(
    queries: Tensor,
    start: int,
    references: Tensor,
    k: int,
    metric: Metric,
    groups: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    # Larger is nearer: the cosine, or the inner product less half the square of the reference's length, which orders
    # the references of a query as their Euclidean distances do.
    # By shape, for the number of queries has no length yet where a graph is exported.
    best = queries.new_empty(queries.shape[0], 0)
    rows = torch.empty(queries.shape[0], 0, dtype=torch.int64, device=queries.device)
    # A few more than asked for, because the order of near ties is decided by exact distances below.
    kept = min(len(references), k if metric == "cosine" else k + 4)
    with full_precision(queries):
        for at in range(0, len(references), _REFERENCES):
            block = references[at : at + _REFERENCES]
            if metric == "cosine":
                closeness = queries @ block.mT
            else:
                closeness = torch.addmm(-0.5 * block.square().sum(1), queries, block.mT)
            if groups is not None:
                own = groups[0][start : start + len(queries), None] == groups[1][at : at + len(block)]
                closeness.masked_fill_(own, -torch.inf)
            if kept == 1:
                value, place = closeness.max(1, keepdim=True)
            else:
                value, place = closeness.topk(min(kept, len(block)), 1)
            best, rows = torch.cat([best, value], 1), torch.cat([rows, place + at], 1)
            if best.shape[1] > kept:
                best, order = best.topk(kept, 1)
                rows = rows.gather(1, order)
        if metric == "cosine":
            away = (1 - best).clamp_min(0)
        else:
            away = (queries[:, None] - references[rows]).square().sum(2).sqrt()
            away = away.masked_fill(best == -torch.inf, torch.inf)
        # ONNX knows no stable sort.
        away, order = away.sort(dim=1) if torch.compiler.is_exporting() else away.sort(dim=1, stable=True)
    return away[:, :k], rows.gather(1, order)[:, :k]
