"""The contract of an anomaly scorer: fitted on normal embeddings, gives a distance; all that is learned is a buffer."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from asd.described import Described
from asd.errors import Notice, UserError
from asd.scoring.distances import Metric
from asd.scoring.in_parts import are_finite, of_each

FOLDS = 5
"""Parts into which normal clips are split to score each by a scorer that was not fitted on it."""


class NotFittedError(UserError):
    """A scorer was asked for scores before it was fitted."""


class Scorer(Described, nn.Module, ABC):
    """Scores of one machine and section. Higher is more anomalous; raw: no sigmoid, no clamp.

    A subclass registers every fitted tensor in `fit` with `remember`; such buffers may have any shape, are saved with
    the checkpoint and are created anew from it on loading.

    Attributes:
        expected_failures: Name of a check of `asd.testing` to the reason why this scorer cannot pass it.
    """

    expected_failures: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @abstractmethod
    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Learn from normal clips.

        Args:
            embeddings: ``(N, E)`` float32.
            target: ``(N,)`` bool, true where the clip is of the target domain.
            group: ``(N,)`` int64, equal for clips cut from one recording; ``None``: every clip is its own.

        Raises:
            UserError: No clip, or an embedding that is not finite.
        """

    @abstractmethod
    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B,)``.

        Raises:
            NotFittedError: `fit` was not called.
        """

    def held_out(self, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """Scores ``(N,)`` of normal clips by scorers that were not fitted on them; this one stays as it is.

        A clip that is a reference itself would score zero. Clips of one recording are held out together; where there
        is a single recording, nothing can be held out.
        """
        recordings = group.unique(return_inverse=True)[1]
        count = int(recordings.max()) + 1
        if count == 1:
            own = copy.deepcopy(self).fit(embeddings, target, group)
            return of_each(embeddings, own)
        scores = torch.empty(len(embeddings), device=embeddings.device)
        folds = recordings % min(FOLDS, count)
        for fold in folds.unique().tolist():
            out = folds == fold
            scores[out] = self._scores_of(out, embeddings, target, group)
        return scores

    def _scores_of(self, out: Tensor, embeddings: Tensor, target: Tensor, group: Tensor) -> Tensor:
        fitted = copy.deepcopy(self).fit(embeddings[~out], target[~out], group[~out])
        return of_each(embeddings, fitted, torch.nonzero(out).flatten())

    def take_bands(self, bands: int) -> None:
        """Be told, before the fit, of how many frequency bands the embeddings hold a vector each, side by side.

        Scorers that this one is made of are told as well; most need not know.
        """
        for part in self.modules():
            if part is not self and isinstance(part, Scorer):
                part.take_bands(bands)

    def remember(self, **tensors: Tensor) -> None:
        """Keep fitted tensors as buffers and mark the scorer as fitted."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())
        self.register_buffer("fitted", torch.ones((), dtype=torch.bool))

    @property
    def device(self) -> torch.device:
        """Where the buffers are."""
        fitted = self.fitted
        assert isinstance(fitted, Tensor)
        return fitted.device

    def check_reference(self, embeddings: Tensor) -> None:
        """Raise `UserError` for a bank that nothing can be learned from."""
        if embeddings.ndim != 2 or len(embeddings) == 0:
            raise UserError(
                f"{type(self).__name__}: no reference embeddings to fit on, got shape {tuple(embeddings.shape)}"
            )
        bad = (~are_finite(embeddings)).sum().item()
        if bad:
            raise UserError(
                f"{type(self).__name__}: {bad} of {len(embeddings)} reference embeddings are not finite; "
                "lower the learning rate or train in float32"
            )

    def check_number(self, name: str, wanted: int, there: int) -> None:
        """Warn where a number asked for is larger than the bank allows; the scorer then takes what is there."""
        if wanted > there:
            warnings.warn(
                f"{type(self).__name__}: {name} is {wanted} but the bank has {there} to choose from; uses {there}",
                Notice,
                stacklevel=3,
            )

    def check_fitted(self) -> None:
        """Raise `NotFittedError` before the first fit."""
        # A graph that is exported holds no such question: it depends on a value.
        if not torch.compiler.is_exporting() and not bool(self.fitted):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit(embeddings, target) first")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Which buffers a fit leaves, and their shapes, depend on the data: take them from the file.
        own = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
        for name in [name for name in self._buffers if name not in own and name != "fitted"]:
            delattr(self, name)
        for name, value in own.items():
            if "." not in name and isinstance(value, Tensor):
                self.register_buffer(name, torch.empty(value.shape, dtype=value.dtype, device=self.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class ReferenceScorer(Scorer):
    """A scorer by distance to the nearest of some references, whose distances can be normalised one by one.

    Attributes:
        metric: How embeddings are compared.
        references: ``(R, E)``, as `asd.scoring.distances.placed` has them, after `fit`.
    """

    metric: Metric
    references: Tensor


def own_recordings(embeddings: Tensor) -> Tensor:
    """Groups ``(N,)`` of clips of which each is a recording of its own."""
    return torch.arange(len(embeddings), device=embeddings.device)
