"""Gaussian models of the normal embeddings: Mahalanobis distance and mixtures."""

from __future__ import annotations

import math
import warnings
from typing import Literal, Self, get_args

import torch
from sklearn.covariance import empirical_covariance, ledoit_wolf, oas, shrunk_covariance
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import Scorer
from asd.utils.precision import full_precision

Covariance = Literal["one", "selective"]
Shrinkage = Literal["ledoit_wolf", "oas"]
CovarianceType = Literal["full", "tied", "diag", "spherical"]

_ADDED_TO_VARIANCE = 1e-6


class MahalanobisScorer(Scorer):
    """Mahalanobis distance to the mean of the normal clips.

    Args:
        covariance: One mean and covariance of all clips; or selective, one of the source and one of the target clips,
            of which the smaller distance counts, as in the challenge's baseline (arXiv 2303.00455).
        shrinkage: Part by which the covariance is drawn to a multiple of the identity, or how that part is estimated:
            by Ledoit and Wolf (2004), or by oracle approximation (Chen et al. 2010). Ten clips say little about a
            covariance of hundreds of columns.
    """

    means: Tensor
    whitening: Tensor

    def __init__(self, covariance: Covariance = "one", shrinkage: float | Shrinkage = "ledoit_wolf") -> None:
        super().__init__()
        if covariance not in get_args(Covariance):
            raise UserError(f"MahalanobisScorer: covariance is {covariance!r}; choose one or selective")
        known = shrinkage in get_args(Shrinkage) if isinstance(shrinkage, str) else 0 <= shrinkage <= 1
        if not known:
            raise UserError(f"MahalanobisScorer: shrinkage is {shrinkage!r}; give a part in [0, 1], ledoit_wolf or oas")
        self.covariance = covariance
        self.shrinkage = shrinkage

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Estimate mean and covariance."""
        self.check_reference(embeddings)
        rows, of_target = embeddings.detach().cpu().double(), target.cpu().bool()
        parts = (
            [rows] if self.covariance == "one" else [part for part in (rows[~of_target], rows[of_target]) if len(part)]
        )
        scale = float(rows.var(0, correction=0).mean()) or 1.0
        means, factors = [], []
        for part in parts:
            matrix = self._estimate(part)
            # No direction may lack variance altogether, or an embedding outside the span would score infinity.
            matrix.diagonal().add_(_ADDED_TO_VARIANCE * scale)
            lower = torch.linalg.cholesky(matrix)
            unit = torch.eye(len(lower), dtype=lower.dtype)
            factors.append(torch.linalg.solve_triangular(lower, unit, upper=False).mT)
            means.append(part.mean(0))
        device = embeddings.device
        self.remember(means=torch.stack(means).float().to(device), whitening=torch.stack(factors).float().to(device))
        return self

    def _estimate(self, rows: Tensor) -> Tensor:
        if len(rows) == 1:
            return torch.eye(rows.shape[1], dtype=rows.dtype)
        values = rows.numpy()
        if isinstance(self.shrinkage, str):
            matrix = {"ledoit_wolf": ledoit_wolf, "oas": oas}[self.shrinkage](values)[0]
        else:
            matrix = shrunk_covariance(empirical_covariance(values), self.shrinkage)
        estimate: Tensor = torch.from_numpy(matrix)
        return torch.nan_to_num(estimate, 0.0)

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the distances ``(B,)``."""
        self.check_fitted()
        with full_precision(embeddings):
            apart = embeddings.float()[None] - self.means[:, None]
            lengths: Tensor = torch.linalg.vector_norm(apart @ self.whitening, dim=2)
            return lengths.amin(0)


class GaussianMixtureScorer(Scorer):
    """Negative log-likelihood under a mixture of Gaussians.

    Args:
        components: Number of Gaussians; fewer where there are fewer distinct clips.
        covariance_type: Of each Gaussian: a full matrix, one matrix for all (tied), a diagonal, or one variance.
        regularisation: Added to the variances, in parts of the mean variance of the embeddings.
        seed: Of the start.
    """

    means: Tensor
    factors: Tensor
    offsets: Tensor

    def __init__(
        self,
        components: int = 4,
        covariance_type: CovarianceType = "diag",
        regularisation: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if components < 1 or not 0 < regularisation < math.inf or covariance_type not in get_args(CovarianceType):
            raise UserError(
                f"GaussianMixtureScorer: components is {components}, regularisation {regularisation} and "
                f"covariance_type {covariance_type!r}; give components of 1 or more, regularisation above 0, and a "
                f"covariance_type of {', '.join(get_args(CovarianceType))}"
            )
        self.components = components
        self.covariance_type = covariance_type
        self.regularisation = regularisation
        self.seed = seed

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Fit the mixture."""
        self.check_reference(embeddings)
        rows = embeddings.detach().cpu().double()
        distinct = len(rows.unique(dim=0))
        self.check_number("components", self.components, distinct)
        width = rows.shape[1]
        if len(rows) == 1:
            rows = rows.repeat(2, 1)
        scale = float(rows.var(0, correction=0).mean()) or 1.0
        mixture = GaussianMixture(
            min(self.components, distinct),
            covariance_type=self.covariance_type,
            reg_covar=self.regularisation * scale,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows.numpy())
        factors = torch.from_numpy(mixture.precisions_cholesky_)
        if self.covariance_type == "tied":
            factors = factors.expand(len(mixture.means_), width, width)
        elif self.covariance_type == "spherical":
            factors = factors[:, None].expand(-1, width)
        spread = factors if factors.ndim == 2 else factors.diagonal(dim1=1, dim2=2)
        offsets = torch.from_numpy(mixture.weights_).log() + spread.log().sum(1) - width / 2 * math.log(2 * math.pi)
        means = torch.from_numpy(mixture.means_)
        kept = {"means": means, "factors": factors, "offsets": offsets}
        self.remember(**{name: value.float().to(embeddings.device) for name, value in kept.items()})
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the negative log-likelihoods ``(B,)``."""
        self.check_fitted()
        with full_precision(embeddings):
            apart = embeddings.float()[None] - self.means[:, None]
            factors = self.factors
            white = apart * factors[:, None] if factors.ndim == 2 else apart @ factors
            return -(self.offsets[:, None] - white.square().sum(2) / 2).logsumexp(0)
