"""From features to embeddings: choose layers, pool over frames, project."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.described import Described
from asd.encoders.pooling import pooled
from asd.encoders.scored import Tokens
from asd.encoders.token_layout import TokenLayout
from asd.errors import UserError

Layers = Literal["mix", "concatenate", "last"]
Pooling = Literal["mean", "max", "mean_max", "attentive_statistics", "rdp", "gem", "rdp_gem"]


class Adapter(Described, nn.Module):
    """Turns the features of an encoder into the input of the head and into the embedding that is scored.

    Options are given on construction; `build` creates the parameters once the encoder's widths are known.

    Args:
        layers: A learnable weighted mean of the encoder's layers, all of them side by side, or the deepest alone.
        pooling: How frames become one vector; attentive statistics are the weighted mean and standard deviation
            (Okabe et al. 2018, arXiv 1803.10963); ``rdp``, ``gem`` and ``rdp_gem`` are in `asd.encoders.pooling`.
        hidden: Widths of linear layers before the last, each with normalisation and activation.
        embedding_dim: Width of the last linear layer; ``None``: no linear layers, the pooled vector goes to the head.
        dropout: Part of the inputs of each linear layer that is dropped in training.
        embedding: Which vector is scored: ``projected``, the last linear layer's output; ``pooled``, before the layers;
            or the encoder's tokens, such as ``bands/rdp4`` for each row of frequency pooled by itself, whatever is
            trained on: see `asd.encoders.scored.Tokens.parse`.
        exponent: Of the relative deviation by which ``rdp`` and ``rdp_gem`` weigh a frame.
        bands: Pool each row of frequency of the encoder's tokens by itself: the pooled vector holds one for each.

    Attributes:
        head_dim: Width of the head's input, after `build`.
        scored_dim: Width of the embedding that is scored, after `build`.
        scored_bands: How many bands lie side by side in it, after `build`.
    """

    head_dim: int
    scored_dim: int
    scored_bands: int

    def __init__(
        self,
        layers: Layers = "mix",
        pooling: Pooling = "mean",
        hidden: Sequence[int] = (),
        embedding_dim: int | None = None,
        dropout: float = 0.0,
        embedding: str = "projected",
        exponent: float = 4.0,
        bands: bool = False,
    ) -> None:
        super().__init__()
        for name, value, known in (("layers", layers, Layers), ("pooling", pooling, Pooling)):
            if value not in get_args(known):
                raise UserError(f"Adapter: {name} is {value!r}; choose one of {', '.join(get_args(known))}")
        if embedding_dim is None and hidden:
            raise UserError("Adapter: hidden layers are given but no embedding_dim; give the width of the last layer")
        if not 0 <= exponent < math.inf:
            raise UserError(f"Adapter: exponent is {exponent}; give 0, which is the mean, or more")
        Tokens.parse(embedding)
        self.layers = layers
        self.pooling = pooling
        self.hidden = tuple(hidden)
        self.width = embedding_dim
        self.dropout = dropout
        self.embedding = embedding
        self.exponent = exponent
        self.bands = bands

    def build(
        self,
        layers: int,
        feature_dim: int,
        layout: TokenLayout = TokenLayout(),  # noqa: B008
        members: int = 1,
    ) -> Self:
        """Create the parameters for features ``(B, L, F, D)`` with ``L`` = `layers`, ``D`` = `feature_dim`.

        Of several `members` that lie side by side in ``D`` each gets parameters of its own.

        Raises:
            UserError: A layer is scored that there is not.
        """
        self.members = nn.ModuleList()
        if members > 1:
            own = [copy.deepcopy(self).build(layers, feature_dim // members, layout) for _ in range(members)]
            self.members = nn.ModuleList(own)
            self.head_dim = members * own[0].head_dim
            self.scored_dim, self.scored_bands = self.size_of(self.embedding)
            return self
        self.layout = layout
        self._token_layers, self._token_dim = layers, feature_dim
        if layout.order == "width":
            self._token_dim //= layout.rows
        rows = layout.rows if self.bands else 1
        feature_dim = self._token_dim if self.bands else feature_dim
        self.mixture = nn.Parameter(torch.zeros(layers)) if self.layers == "mix" and layers > 1 else None
        width = feature_dim * layers if self.layers == "concatenate" else feature_dim
        self.attention = None
        if self.pooling == "attentive_statistics":
            self.attention = nn.Sequential(nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, width))
        self.pooled_dim = rows * width * (2 if self.pooling in ("mean_max", "attentive_statistics") else 1)
        self.projection = nn.Sequential()
        self.head_dim = self.pooled_dim
        if self.width is not None:
            for out in self.hidden:
                self.projection.extend(
                    [nn.Dropout(self.dropout), nn.Linear(self.head_dim, out), nn.LayerNorm(out), nn.GELU()]
                )
                self.head_dim = out
            self.projection.extend([nn.Dropout(self.dropout), nn.Linear(self.head_dim, self.width)])
            self.head_dim = self.width
        self.scored_dim, self.scored_bands = self.size_of(self.embedding)
        return self

    def size_of(self, what: str) -> tuple[int, int]:
        """Width of a vector that may be scored, and how many bands lie side by side in it.

        Raises:
            UserError: There is no such vector.
        """
        if self.members:
            width, bands = self._parts()[0].size_of(what)
            return len(self.members) * width, len(self.members) * bands
        tokens = Tokens.parse(what)
        if tokens is not None:
            tokens.check(self._token_layers)
            return self._token_dim * tokens.rows(self.layout), tokens.rows(self.layout)
        if what == "projected":
            return self.head_dim, 1 if len(self.projection) or not self.bands else self.layout.rows
        return self.pooled_dim, self.layout.rows if self.bands else 1

    @property
    def pooling_trains(self) -> bool:
        """Whether what is done before the pooled vector has parameters."""
        return bool(self.members) or self.mixture is not None or self.attention is not None

    def pool(self, features: Tensor) -> Tensor:
        """``(B, L, F, D)`` to the pooled vector ``(B, P)``; one that was pooled before stays as it is."""
        if features.ndim == 2:
            return features
        if self.members:
            return torch.cat([own.pool(part) for own, part in self._divided(features)], 1)
        if not self.bands:
            return self._pool(features)
        grid = self.layout.grid(features).movedim(3, 1)  # (B, R, L, F', D)
        vectors: Tensor = self._pool(grid.flatten(0, 1)).unflatten(0, (-1, grid.shape[1]))
        return vectors.flatten(1)

    def _pool(self, features: Tensor) -> Tensor:
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
        return pooled(rows, self.pooling, self.exponent)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, L, F, D)`` to the head's input ``(B, head_dim)``."""
        if self.members:
            return torch.cat([own(part) for own, part in self._divided(features)], 1)
        projected: Tensor = self.projection(self.pool(features))
        return projected

    def embed(self, features: Tensor, what: str | None = None) -> Tensor:
        """``(B, L, F, D)`` to the embedding that is scored, ``(B, scored_dim)``, or to another vector, `what`."""
        what = self.embedding if what is None else what
        if self.members:
            # None outweighs the others in a distance because its numbers are larger.
            vectors = [own.embed(part, what).float() for own, part in self._divided(features)]
            return torch.cat([F.normalize(one) for one in vectors], 1)
        tokens = Tokens.parse(what)
        if tokens is not None:
            return tokens.pool(features, self.layout)
        return self(features) if what == "projected" else self.pool(features)

    def _parts(self) -> list[Adapter]:
        return [own for own in self.members if isinstance(own, Adapter)]

    def _divided(self, features: Tensor) -> list[tuple[Adapter, Tensor]]:
        return list(zip(self._parts(), features.chunk(len(self.members), -1), strict=True))
