"""The contract of a classification head: embeddings and labels to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor, nn

from asd.described import Described


class Head(Described, nn.Module, ABC):
    """A classification loss over the auxiliary classes, used in training only.

    Options are given on construction; `build` creates the parameters once the numbers are known. A head says nothing
    of devices or gradients: it is a plain module.

    Attributes:
        classes: Number of auxiliary classes ``C``, 1 or more, set by `build`.
        classifies: Whether it tells classes apart; an autoencoder's loss does not.
        expected_failures: Name of a check of `asd.testing` to the reason why this head cannot pass it.
    """

    classes: int
    classifies: bool = True
    expected_failures: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the parameters for ``E`` = `embedding_dim` and ``C`` = `classes`; returns itself.

        Raises:
            UserError: An option that does not go with these numbers.
        """

    @abstractmethod
    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """``(B, E)`` and soft labels ``(B, C)`` whose rows sum to one, to the loss, a scalar in float32."""

    @abstractmethod
    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)`` in float32, without margin: the largest is the predicted class."""
