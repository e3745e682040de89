"""Heads on the angle between embedding and class centres: ArcFace, AdaCos, sub-cluster AdaCos."""

from __future__ import annotations

import math
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.errors import UserError
from asd.heads.base import Head
from asd.utils.precision import full_precision
from asd.utils.ranks import rows_of_all

ScaleOver = Literal["others", "all"]
"""Centres that a dynamic scale sums over: those of the classes that a clip is not labelled with, or all."""

_LARGEST_SCALE = 64.0
_SHORTEST = {torch.float16: 1e-3}


def unit_length(rows: Tensor) -> Tensor:
    """``(N, E)`` at unit length, in float32; a row too short to have a direction becomes zero, without gradient.

    The gradient of a direction is one over the length of the row: of a row of zeros it would throw the weights away.
    Float16, which ends at 65504, has no room for it under a length of 1e-3; other types end there at 1e-6.
    """
    shortest = _SHORTEST.get(rows.dtype, 1e-6)
    rows = rows.float()
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # Asked so that NaN stays NaN, and the loss that comes of it is seen.
    return torch.where(length <= shortest, torch.zeros_like(rows), rows / length.clamp_min(shortest))


def cosines(embeddings: Tensor, centres: Tensor) -> Tensor:
    """``(B, E)`` and ``(C, E)`` to the cosines ``(B, C)``, in float32: half precision confuses close angles."""
    with full_precision(embeddings):
        return F.linear(unit_length(embeddings), unit_length(centres))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of ``(B, C)`` logits with soft labels ``(B, C)``."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()


def adapted(scale: Tensor, angle: Tensor, summed: Tensor) -> Tensor:
    """The `scale` of AdaCos after a batch, from the clips of all processes.

    It is the logarithm of the mean over the clips of the summed exponentials, divided by the cosine of the median
    angle, which counts as 45 degrees at most; never above 64, the largest scale of heads whose scale is fixed, because
    the rule itself has no upper end. A batch that gives no positive number leaves the scale as it is.

    Args:
        scale: Factor on the cosines, a scalar.
        angle: ``(B,)`` radians between embedding and labelled class.
        summed: ``(B,)`` logarithm of the summed exponentials of scaled cosines.
    """
    angle, summed = rows_of_all(torch.stack([angle, summed], 1)).unbind(1)
    fresh = (summed.logsumexp(0) - math.log(len(summed))) / angle.median().clamp(max=math.pi / 4).cos()
    return torch.where(fresh.isfinite() & (fresh > 0), fresh.clamp(max=_LARGEST_SCALE), scale)


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

    The probability of a class is the sum over its sub-clusters of the softmax over all of them. The dynamic scale is
    ``log(mean_i sum_j exp(scale * cos_ij)) / cos(min(pi / 4, median_i angle_i))``, where ``cos_ij`` is the cosine of
    clip ``i`` and centre ``j``, and ``angle_i`` that of the clip and the nearest centre of its classes, with the clips
    of all processes. The sum over ``j`` comes in two forms:

    - ``others`` leaves the centres of the clip's own classes out, as AdaCos does (Zhang et al. 2019, arXiv 1905.00292).
      The scale falls as the classes come apart.
    - ``all`` takes every centre, as the author of sub-cluster AdaCos does. The scale grows with the cosine of the own
      class, and with trainable centres soon reaches the 64 at which it is held.

    Args:
        subclusters: Centres of each class.
        trainable: Train the centres, or leave them at their random start.
        dynamic: Adapt the scale to the training; it is kept at its start otherwise.
        scale_over: Centres that the dynamic scale sums over, ``others`` or ``all``.
    """

    scale: Tensor

    def __init__(
        self, subclusters: int = 16, trainable: bool = True, dynamic: bool = True, scale_over: ScaleOver = "others"
    ) -> None:
        super().__init__()
        if subclusters < 1:
            raise UserError(f"{type(self).__name__}: subclusters is {subclusters}; give 1 or more")
        if scale_over not in get_args(ScaleOver):
            raise UserError(f"{type(self).__name__}: scale_over is {scale_over!r}; give others or all")
        self.subclusters = subclusters
        self.trainable = trainable
        self.dynamic = dynamic
        self.scale_over = scale_over
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
        if self.scale_over == "others":
            cosine = cosine.masked_fill((targets > 0).repeat_interleave(self.subclusters, 1), -math.inf)
        self.scale.copy_(adapted(self.scale, labelled.acos(), (self.scale * cosine).logsumexp(1)))


class AdaCos(SubclusterAdaCos):
    """AdaCos: softmax on cosines with a scale that follows the training (Zhang et al. 2019, arXiv 1905.00292).

    Args:
        trainable: Train the centres, or leave them at their random start.
        dynamic: Adapt the scale to the training; it is kept at its start otherwise.
    """

    def __init__(self, trainable: bool = True, dynamic: bool = True) -> None:
        super().__init__(1, trainable, dynamic)
