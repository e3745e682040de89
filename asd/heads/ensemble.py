"""A head for each model of an ensemble that is trained in one pass."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.heads.base import Head
from asd.heads.cosine import AdaCos


class EnsembleHead(Head):
    """A head of its own for each of several models whose embeddings lie side by side; the loss is the sum of theirs.

    So each model gets the gradient that it would get alone. A single head on all of them would make one wide network:
    what one part knows already, no other would have to learn. It is put around the detector's head where the encoder
    has `members`, and need not be named.

    Args:
        head: Copied for each model, with parameters of its own; ``None``: AdaCos.
        members: How many models there are.
    """

    def __init__(self, head: Head | None = None, members: int = 2) -> None:
        super().__init__()
        if members < 1:
            raise UserError(f"EnsembleHead: members is {members}; give 1 or more")
        head = AdaCos() if head is None else head
        self.classifies = head.classifies
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(members))

    @classmethod
    def around(cls, head: Head, members: int) -> Head:
        """What trains that many models with a head such as this one; itself where it does so already."""
        return head if members == 1 or isinstance(head, cls) else cls(head, members)

    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the parameters of each head for its part of ``E``.

        Raises:
            UserError: ``E`` cannot be divided among the models.
        """
        if embedding_dim % len(self.heads):
            raise UserError(
                f"EnsembleHead: {embedding_dim} columns cannot be divided among {len(self.heads)} models; set members "
                "to how many the encoder has"
            )
        self.classes = classes
        for head in self._each():
            head.build(embedding_dim // len(self.heads), classes)
        return self

    def _each(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]

    def _parts(self, embeddings: Tensor) -> list[tuple[Head, Tensor]]:
        return list(zip(self._each(), embeddings.chunk(len(self.heads), 1), strict=True))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses."""
        losses: list[Tensor] = [head(part, targets) for head, part in self._parts(embeddings)]
        return torch.stack(losses).sum()

    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)``: the mean of the models' logits."""
        return torch.stack([head.logits(part) for head, part in self._parts(embeddings)]).mean(0)
