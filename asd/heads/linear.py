"""The plain softmax head."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from asd.heads.base import Head
from asd.heads.cosine import cross_entropy


class CrossEntropy(Head):
    """A linear layer and cross-entropy: no margin, no normalisation.

    Args:
        label_smoothing: Part of each label that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the linear layer."""
        self.classes = classes
        self.linear = nn.Linear(embedding_dim, classes)
        return self

    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)``."""
        logits: Tensor = self.linear(embeddings)
        return logits.float()

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the soft labels."""
        smooth = self.label_smoothing
        return cross_entropy(self.logits(embeddings), (1 - smooth) * targets + smooth / self.classes)
