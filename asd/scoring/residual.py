"""Scores of the residuals of an autoencoder, in the forms of the challenge's baseline."""

from __future__ import annotations

from typing import Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import Scorer
from asd.utils.precision import full_precision

Form = Literal["mse", "mahalanobis_mean", "mahalanobis_frames"]

_FLOOR = 1e-6


class ResidualScorer(Scorer):
    """How large the residuals of a clip are, which come side by side as its embedding.

    ``mse`` is their mean square. The Mahalanobis forms weigh them by the inverse covariance of the residuals of normal
    clips, of the source or of the target domain, whichever gives the smaller score: ``mahalanobis_mean`` as the
    baseline computes it, which is the square of the length of the residual averaged over the clip;
    ``mahalanobis_frames``, the mean over the clip of the squares of the lengths.

    Args:
        form: The form.
        width: Columns of one residual; ``None``: the embedding is a single one.
    """

    inverses: Tensor

    def __init__(self, form: Form = "mse", width: int | None = None) -> None:
        super().__init__()
        if form not in get_args(Form) or (width is not None and width < 1):
            raise UserError(
                f"ResidualScorer: form is {form!r} and width {width}; choose a form of {', '.join(get_args(Form))} and "
                "a width of 1 or more"
            )
        self.form = form
        self.width = width

    def _residuals(self, embeddings: Tensor) -> Tensor:
        width = embeddings.shape[1] if self.width is None else self.width
        if embeddings.shape[1] % width:
            raise UserError(
                f"ResidualScorer: embeddings of {embeddings.shape[1]} columns hold no whole residuals of {width}; set "
                "width to bands times frames of the autoencoder, and model.adapter to null"
            )
        residuals: Tensor = embeddings.float().unflatten(1, (-1, width))
        return residuals

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Take the covariances of the residuals of both domains."""
        self.check_reference(embeddings)
        residuals = self._residuals(embeddings.detach())
        if self.form == "mse":
            self.remember(inverses=residuals.new_empty(0))
            return self
        flags = target.bool().to(embeddings.device)
        domains = [part for part in (residuals[~flags], residuals[flags]) if len(part)]
        self.remember(inverses=torch.stack([_inverse_covariance(part.flatten(0, 1)) for part in domains]))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to scores ``(B,)``."""
        self.check_fitted()
        with full_precision(embeddings):
            residuals = self._residuals(embeddings)
            if self.form == "mse":
                return residuals.square().mean((1, 2))
            if self.form == "mahalanobis_mean":
                residuals = residuals.mean(1, keepdim=True)
            lengths = [((residuals @ inverse) * residuals).sum(2).mean(1) for inverse in self.inverses]
            return torch.stack(lengths).amin(0)


def _inverse_covariance(rows: Tensor) -> Tensor:
    """``(n, W)`` to the inverse ``(W, W)``; directions without variance count as a millionth of the mean variance."""
    mean = rows.mean(0)
    # In float64, which not every device has: on the CPU.
    covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(65536):
        apart = part - mean
        covariance += (apart.mT @ apart).cpu().double()
    covariance /= max(1, len(rows) - 1)
    values, vectors = torch.linalg.eigh(covariance)
    floor = _FLOOR * float(values.clamp_min(0).mean()) or 1.0
    inverse: Tensor = (vectors / values.clamp_min(floor)) @ vectors.mT
    return inverse.float().to(rows.device)
