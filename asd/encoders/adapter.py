"""From features to embeddings: choose layers, pool over frames, project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from asd.described import Described
from asd.errors import UserError

Layers = Literal["mix", "concatenate", "last"]
Pooling = Literal["mean", "max", "mean_max", "attentive_statistics"]
Place = Literal["projected", "pooled"]


class Adapter(Described, nn.Module):
    """Turns the features of an encoder into the input of the head and into the embedding that is scored.

    Options are given on construction; `build` creates the parameters once the encoder's widths are known.

    Args:
        layers: A learnable weighted mean of the encoder's layers, all of them side by side, or the deepest alone.
        pooling: How frames become one vector; attentive statistics are the weighted mean and standard deviation
            (Okabe et al. 2018, arXiv 1803.10963).
        hidden: Widths of linear layers before the last, each with normalisation and activation.
        embedding_dim: Width of the last linear layer; ``None``: no linear layers, the pooled vector goes to the head.
        dropout: Part of the inputs of each linear layer that is dropped in training.
        embedding: Which vector is scored: the last linear layer's output, or the pooled vector before the layers.

    Attributes:
        head_dim: Width of the head's input, after `build`.
        scored_dim: Width of the embedding that is scored, after `build`.
    """

    head_dim: int
    scored_dim: int

    def __init__(
        self,
        layers: Layers = "mix",
        pooling: Pooling = "mean",
        hidden: Sequence[int] = (),
        embedding_dim: int | None = None,
        dropout: float = 0.0,
        embedding: Place = "projected",
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("layers", layers, Layers),
            ("pooling", pooling, Pooling),
            ("embedding", embedding, Place),
        ):
            if value not in get_args(known):
                raise UserError(f"Adapter: {name} is {value!r}; choose one of {', '.join(get_args(known))}")
        if embedding_dim is None and hidden:
            raise UserError("Adapter: hidden layers are given but no embedding_dim; give the width of the last layer")
        self.layers = layers
        self.pooling = pooling
        self.hidden = tuple(hidden)
        self.width = embedding_dim
        self.dropout = dropout
        self.embedding = embedding

    def build(self, layers: int, feature_dim: int) -> Self:
        """Create the parameters for features ``(B, L, F, D)`` with ``L`` = `layers`, ``D`` = `feature_dim`."""
        self.mixture = nn.Parameter(torch.zeros(layers)) if self.layers == "mix" and layers > 1 else None
        width = feature_dim * layers if self.layers == "concatenate" else feature_dim
        self.attention = None
        if self.pooling == "attentive_statistics":
            self.attention = nn.Sequential(nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, width))
        pooled = width * (2 if self.pooling in ("mean_max", "attentive_statistics") else 1)
        self.projection = nn.Sequential()
        self.head_dim = pooled
        if self.width is not None:
            for out in self.hidden:
                self.projection.extend(
                    [nn.Dropout(self.dropout), nn.Linear(self.head_dim, out), nn.LayerNorm(out), nn.GELU()]
                )
                self.head_dim = out
            self.projection.extend([nn.Dropout(self.dropout), nn.Linear(self.head_dim, self.width)])
            self.head_dim = self.width
        self.scored_dim = self.head_dim if self.embedding == "projected" else pooled
        return self

    def pool(self, features: Tensor) -> Tensor:
        """``(B, L, F, D)`` to the pooled vector ``(B, P)``."""
        if self.mixture is not None:
            rows = torch.einsum("l,blfd->bfd", self.mixture.softmax(0).to(features.dtype), features)
        elif self.layers == "concatenate":
            rows = features.movedim(1, 2).flatten(2)
        else:
            rows = features[:, -1]
        if self.attention is not None:
            weight = self.attention(rows).float().softmax(1)
            mean = (weight * rows).sum(1)
            variance = (weight * rows.float().square()).sum(1) - mean.square()
            return torch.cat([mean, variance.clamp_min(1e-6).sqrt()], dim=1)
        if self.pooling == "max":
            return rows.amax(1)
        if self.pooling == "mean_max":
            return torch.cat([rows.mean(1), rows.amax(1)], dim=1)
        return rows.mean(1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, L, F, D)`` to the head's input ``(B, head_dim)``."""
        projected: Tensor = self.projection(self.pool(features))
        return projected

    def embed(self, features: Tensor) -> Tensor:
        """``(B, L, F, D)`` to the embedding that is scored, ``(B, scored_dim)``."""
        pooled = self.pool(features)
        return pooled if self.embedding == "pooled" else self.projection(pooled)
