"""The contract of a classification head: embeddings and labels to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor, nn

from asd.described import Described


class Head(Described, nn.Module, ABC):
    """A classification loss over the auxiliary classes, used in training only.

    Options are given on construction; `build` creates the parameters once the numbers are known.

    Attributes:
        classes: Number of auxiliary classes ``C``, set by `build`.
        classifies: Whether it tells classes apart; an autoencoder's loss does not.
    """

    classes: int
    classifies: ClassVar[bool] = True

    @abstractmethod
    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the parameters for ``E`` = `embedding_dim` and ``C`` = `classes`; returns itself."""

    @abstractmethod
    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """``(B, E)`` and soft labels ``(B, C)`` whose rows sum to one, to the scalar loss."""

    @abstractmethod
    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)`` without margin: the largest is the predicted class."""
