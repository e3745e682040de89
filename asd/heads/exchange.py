"""Feature exchange: parts of the embedding swapped between the clips of a batch, and a head that tells so."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from asd.described import Described
from asd.errors import UserError
from asd.heads.base import Head
from asd.heads.ensemble import EnsembleHead


class FeatureExchange(Described, nn.Module):
    """Swaps what an encoder's branches make of a clip with that of other clips, in training alone (FeatEx).

    Each branch then has to know the class by itself, and the head learns which parts belong together. Of ``K`` branches
    the first stays, every other one is that of some other clip of the batch. A head of its own tells ``(1 + K) C``
    classes: the ``C`` of clips that stay whole, then for each branch those of the clip that it is of, in ``K`` equal
    shares: ``(y, 0, 0)`` or ``(0, y / 2, z / 2)`` for two branches. Its loss is added to that of the whole clips
    (Wilkinghoff 2024, "Self-supervised learning for anomalous sound detection", ICASSP, arXiv 2312.09578, which has two
    branches).

    Args:
        probability: Part of the clips that are exchanged.
        weight: Of its loss beside that of the whole clips.
        head: Of the exchanged clips; ``None``: like that of the whole ones.
    """

    def __init__(self, probability: float = 0.5, weight: float = 1.0, head: Head | None = None) -> None:
        super().__init__()
        if not 0 <= probability <= 1 or weight <= 0:
            raise UserError(
                f"FeatureExchange: probability is {probability} and weight {weight}; give [0, 1] and more than 0"
            )
        self.probability = probability
        self.weight = weight
        self.head = head
        self.branches: tuple[int, ...] = ()

    def take(self, encoder: str, branches: Sequence[int], head: Head, members: int = 1) -> None:
        """Learn how features divide, and, where no head was given, which one to be like.

        Args:
            encoder: What messages call it.
            branches: Widths of its branches, see `asd.encoders.Encoder.branches`.
            head: Of the whole clips, not built yet.
            members: Models that lie side by side, see `asd.encoders.Encoder.members`.

        Raises:
            UserError: A single branch, or a head that tells no classes apart.
        """
        if len(branches) < 2:
            raise UserError(
                f"FeatureExchange: {encoder} has a single branch, so there is nothing to exchange; set model.exchange "
                "to null, or take an encoder of several, such as DualBranchCNN or Fusion"
            )
        self.branches = tuple(branches)
        self.head = EnsembleHead.around(copy.deepcopy(head) if self.head is None else self.head, members)
        if not self.head.classifies:
            raise UserError(
                f"FeatureExchange: {type(self.head).__name__} tells no classes apart; give another head, such as "
                "SubclusterAdaCos"
            )

    def build(self, embedding_dim: int, classes: int) -> None:
        """Create the head for ``E`` = `embedding_dim` and the ``C`` = `classes` of whole clips."""
        assert self.head is not None
        self.head.build(embedding_dim, (1 + len(self.branches)) * classes)

    def forward(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, L, F', D)`` and soft labels ``(B, C)`` to exchanged ones and ``(B, (1 + K) C)``."""
        clips, count, device = len(features), len(self.branches), features.device
        place = torch.arange(clips, device=device)
        exchanged = torch.zeros(clips, dtype=torch.bool, device=device)
        sources = [place] * count
        if self.training and clips > 1:
            exchanged = torch.rand(clips, device=device) < self.probability
            # By less than the batch: no clip is its own partner.
            steps = torch.randint(1, clips, (count - 1, 1), device=device)
            others = torch.where(exchanged, (place + steps) % clips, place)
            sources = [place, *others]
        parts = features.split([*self.branches] * (features.shape[-1] // sum(self.branches)), -1)
        swapped = torch.cat([part[sources[number % count]] for number, part in enumerate(parts)], -1)
        whole, apart = (~exchanged)[:, None] * targets, exchanged[:, None] / count
        return swapped, torch.cat([whole, *(apart * targets[source] for source in sources)], 1)

    def loss(self, features: Tensor, targets: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """What is added to the loss of a batch.

        Args:
            features: ``(B, L, F', D)`` of the whole clips.
            targets: Their soft labels ``(B, C)``.
            embed: Features to the head's input ``(B, E)``.
        """
        assert self.head is not None
        features, targets = self(features, targets)
        loss: Tensor = self.head(embed(features), targets)
        return self.weight * loss
