"""A head that measures the distance to a subspace of each class."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.heads.base import Head
from asd.heads.cosine import adapted, cross_entropy, unit_length
from asd.utils.precision import full_precision


class AdaProj(Head):
    """AdaProj: embeddings may lie anywhere on a subspace of their class (Wilkinghoff 2024, arXiv 2403.14179).

    The logit is a scale times minus the squared distance between the normalised embedding and its projection, brought
    to unit length, onto the span of the class's directions. The scale follows the training as in AdaCos.

    Args:
        subspace_dim: Directions of each class.
        trainable: Train the directions, or leave them at their random start.
    """

    scale: Tensor

    def __init__(self, subspace_dim: int = 32, trainable: bool = False) -> None:
        super().__init__()
        if subspace_dim < 1:
            raise UserError(f"AdaProj: subspace_dim is {subspace_dim}; give 1 or more")
        self.subspace_dim = subspace_dim
        self.trainable = trainable
        self.register_buffer("scale", torch.ones(()))

    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the directions of each class.

        Raises:
            UserError: As many directions as the embedding has: every class would contain every embedding.
        """
        self.classes = classes
        if self.subspace_dim >= embedding_dim:
            raise UserError(
                f"AdaProj: subspace_dim is {self.subspace_dim}, the embedding has {embedding_dim} columns; give fewer"
            )
        each = [nn.init.orthogonal_(torch.empty(self.subspace_dim, embedding_dim)) for _ in range(classes)]
        directions = torch.stack(each)
        if self.trainable:
            self.directions = nn.Parameter(directions)
        else:
            self.register_buffer("directions", directions)
        self.scale.fill_(math.sqrt(2) * math.log(max(classes - 1, 2)))
        return self

    def _similarity(self, embeddings: Tensor) -> Tensor:
        with full_precision(embeddings):
            unit = unit_length(embeddings)
            basis = self.directions.float()
            if self.trainable:
                # Training turns the directions towards each other; the projection needs them orthonormal.
                basis = torch.linalg.qr(basis.mT).Q.mT
            # Of unit vectors the squared distance is 2 - 2 cos: the constant falls out of the softmax. The cosine
            # between a vector and its projection is the length of the projection.
            inside = torch.einsum("be,cke->bck", unit, basis)
            return 2 * inside.square().sum(-1).add(1e-12).sqrt()

    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)``: scaled minus squared distances, up to a constant."""
        return self.scale * self._similarity(embeddings)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the soft labels."""
        similarity = self._similarity(embeddings)
        if self.training:
            self._update_scale(similarity.detach(), targets)
        return cross_entropy(self.scale * similarity, targets)

    def _update_scale(self, similarity: Tensor, targets: Tensor) -> None:
        labelled = (similarity.masked_fill(targets <= 0, -2).amax(1) / 2).clamp(-1, 1)
        others = similarity.masked_fill(targets > 0, -math.inf)
        # The similarity is twice the cosine.
        self.scale.copy_(adapted(2 * self.scale, labelled.acos(), (self.scale * others).logsumexp(1)) / 2)
