"""The layers of Dasheng and CED: a vision transformer's, normalised before attention and feed-forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.attention import heads_together
from asd.encoders.pretrained import Weights
from asd.errors import UserError


@dataclass(frozen=True)
class TransformerShape:
    """Dimensions of the network.

    Attributes:
        width: Feature width.
        depth: Number of layers.
        heads: Attention heads.
    """

    width: int
    depth: int
    heads: int

    @classmethod
    def of(cls, weights: Weights, published: Mapping[str, Self]) -> Self:
        """The dimensions of weights under this module's names; heads are in ``config``, or known of published sizes.

        Raises:
            UserError: A tensor that tells them is not there, or nothing tells the heads.
        """
        width, depth = weights.dims("patch_embed.proj.weight")[0], weights.depth("blocks")
        weights.check_holds(12 * depth * width**2)
        known = {(one.width, one.depth): one.heads for one in published.values()}
        heads = weights.settings("config").get("num_heads", known.get((width, depth)))
        if not isinstance(heads, int) or heads < 1 or width % heads:
            raise UserError(
                f"{weights.path} has width {width} and depth {depth}, which is no published size, and its config tells "
                "no number of heads that fits; set shape"
            )
        return cls(width, depth, heads)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        output: Tensor = self.proj(heads_together(F.scaled_dot_product_attention(query, key, value)))
        return output


class _Feedforward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return output


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _Feedforward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, N, D)`` to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out
