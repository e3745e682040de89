"""Heads on the angle between embedding and class centres: ArcFace, AdaCos, sub-cluster AdaCos."""

from __future__ import annotations

import math
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.errors import UserError
from asd.heads.base import Head
from asd.utils.precision import full_precision


def cosines(embeddings: Tensor, centres: Tensor) -> Tensor:
    """``(B, E)`` and ``(C, E)`` to the cosines ``(B, C)``, in float32: half precision confuses close angles."""
    with full_precision(embeddings):
        return F.linear(F.normalize(embeddings.float()), F.normalize(centres.float()))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of ``(B, C)`` logits with soft labels ``(B, C)``."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()


class ArcFace(Head):
    """Softmax on cosines with a margin added to the angle of the labelled class (Deng et al. 2019, arXiv 1801.07698).

    Args:
        scale: Factor on the cosines.
        margin: Radians added to the angle of the labelled class.
    """

    def __init__(self, scale: float = 30.0, margin: float = 0.2) -> None:
        super().__init__()
        if scale <= 0 or not 0 <= margin < math.pi / 2:
            raise UserError(f"ArcFace: scale is {scale} and margin {margin}; give scale > 0 and margin in [0, pi/2)")
        self.scale = scale
        self.margin = margin

    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create one trainable centre a class."""
        self.classes = classes
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, embedding_dim)))
        return self

    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)`` scaled cosines."""
        return self.scale * cosines(embeddings, self.centres)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the margin in proportion to each class's share of the soft label."""
        cosine = cosines(embeddings, self.centres)
        # The slope of the arc cosine is infinite at one.
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        # Past pi the cosine would rise again, and a wrong answer be rewarded.
        margin = torch.where(angle + self.margin < math.pi, (angle + self.margin).cos(), cosine - self.margin)
        return cross_entropy(self.scale * (targets * margin + (1 - targets) * cosine), targets)


class SubclusterAdaCos(Head):
    """Sub-cluster AdaCos: several centres a class, and a scale that follows the training (Wilkinghoff 2021, IJCNN).

    The probability of a class is the sum over its sub-clusters of the softmax over all of them.

    Args:
        subclusters: Centres of each class.
        trainable: Train the centres, or leave them at their random start.
        dynamic: Adapt the scale to the training; it is kept at its start otherwise.
    """

    scale: Tensor

    def __init__(self, subclusters: int = 16, trainable: bool = True, dynamic: bool = True) -> None:
        super().__init__()
        if subclusters < 1:
            raise UserError(f"{type(self).__name__}: subclusters is {subclusters}; give 1 or more")
        self.subclusters = subclusters
        self.trainable = trainable
        self.dynamic = dynamic
        self.register_buffer("scale", torch.ones(()))

    def build(self, embedding_dim: int, classes: int) -> Self:
        """Create the centres, and the scale that AdaCos starts from (Zhang et al. 2019, arXiv 1905.00292, eq. 10)."""
        self.classes = classes
        count = classes * self.subclusters
        centres = nn.init.xavier_uniform_(torch.empty(count, embedding_dim))
        if self.trainable:
            self.centres = nn.Parameter(centres)
        else:
            self.register_buffer("centres", centres)
        # One or two centres leave nothing, or log 1, to scale by.
        self.scale.fill_(math.sqrt(2) * math.log(max(count - 1, 2)))
        return self

    def logits(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, C)``: log of the summed exponentials over each class's sub-clusters."""
        return self._pooled(self.scale * cosines(embeddings, self.centres))

    def _pooled(self, scaled: Tensor) -> Tensor:
        return scaled.reshape(len(scaled), self.classes, self.subclusters).logsumexp(2)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the class probabilities with the soft labels."""
        cosine = cosines(embeddings, self.centres)
        if self.training and self.dynamic:
            self._update_scale(cosine.detach(), targets)
        return cross_entropy(self._pooled(self.scale * cosine), targets)

    def _update_scale(self, cosine: Tensor, targets: Tensor) -> None:
        nearest = cosine.reshape(len(cosine), self.classes, self.subclusters).amax(2)
        labelled = nearest.masked_fill(targets <= 0, -1).amax(1).clamp(-1, 1)
        angle = labelled.acos().median().clamp(max=math.pi / 4)
        # The logarithm of the mean over clips of the summed exponentials of the other centres.
        others = cosine.masked_fill((targets > 0).repeat_interleave(self.subclusters, 1), -math.inf)
        total = (self.scale * others).logsumexp((0, 1)) - math.log(len(cosine))
        fresh = total / angle.cos()
        if bool(fresh.isfinite()) and float(fresh) > 0:
            self.scale.copy_(fresh)


class AdaCos(SubclusterAdaCos):
    """AdaCos: softmax on cosines with a scale that follows the training (Zhang et al. 2019, arXiv 1905.00292).

    Args:
        trainable: Train the centres, or leave them at their random start.
        dynamic: Adapt the scale to the training; it is kept at its start otherwise.
    """

    def __init__(self, trainable: bool = True, dynamic: bool = True) -> None:
        super().__init__(1, trainable, dynamic)
