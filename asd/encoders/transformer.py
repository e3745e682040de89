"""The layers of vision transformers, which several encoders share, and how large a file of one is.

Dosovitskiy et al., "An image is worth 16x16 words" (2021), arXiv:2010.11929.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from asd.encoders.attention import heads_together
from asd.encoders.pretrained import Weights
from asd.encoders.projections import Projections
from asd.errors import UserError

_HEAD_WIDTH = 64
_SIZE = ("width", "depth", "heads")
PROJECTIONS = Projections(attention=("attn.qkv",), outputs=("attn.proj", "mlp.fc2"))
"""Those of `Block`."""


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

    @property
    def size(self) -> tuple[int, int, int]:
        """Width, depth and heads."""
        return self.width, self.depth, self.heads


S = TypeVar("S", bound=TransformerShape)


def shape_of(weights: Weights, embedding: str, heads: object = None, dims: int = 4) -> TransformerShape:
    """The dimensions of weights whose layers are called ``blocks``.

    Args:
        weights: By the network's own names.
        embedding: Key of the weight that makes tokens, whose first dimension is the width.
        heads: What the file says of the attention heads; ``None``: nothing, so they are 64 wide, as is usual.
        dims: How many dimensions that weight has: four of a convolution, two of a linear layer.

    Raises:
        UserError: A tensor that tells them is not there, the file promises more than it holds, or heads do not fit.
    """
    width, depth = weights.dims(embedding, dims)[0], weights.depth("blocks")
    weights.check_holds(12 * depth * width**2)
    heads = width // _HEAD_WIDTH if heads is None else heads
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise UserError(f"{weights.path} is of width {width}, which does not divide into {heads} heads; set shape")
    return TransformerShape(width, depth, heads)


def decided(name: str, sizes: Mapping[str, S], size: str | None, shape: S | None, file: tuple[Weights, S] | None) -> S:
    """The dimensions that are asked for, else those of a file, else those of the first size.

    Args:
        name: Of the encoder, for messages.
        sizes: The published ones.
        size: The published one that is asked for.
        shape: All dimensions that are asked for, over `size`.
        file: Weights, and the dimensions that they have.

    Raises:
        UserError: There is no such size, or the file is of other dimensions; says what to set.
    """
    if size is not None and size not in sizes:
        raise UserError(f"{name}: size is {size!r}; give {' or '.join(sizes)}")
    asked = shape or (None if size is None else sizes[size])
    if file is None:
        return asked or next(iter(sizes.values()))
    weights, found = file
    if asked is None:
        return found
    # A published size is known by these three; what else there is, files of one size may differ in.
    counted = _SIZE if shape is None else tuple(asdict(found))
    other = [name for name in counted if getattr(found, name) != getattr(asked, name)]
    if not other:
        return found
    told = ", ".join(f"{name} {getattr(found, name)} (not {getattr(asked, name)})" for name in other)
    fitting = next((key for key, one in sizes.items() if one.size == found.size), None)
    remedy = f"set size to {fitting}" if shape is None and fitting else "set shape to that"
    raise UserError(f"{weights.path} is of another size: {told}; {remedy}, or leave size and shape out")


def check_layers(name: str, layers: int, depth: int) -> None:
    """Raise `UserError` for a number of layers that an encoder does not have."""
    if not 1 <= layers <= depth:
        raise UserError(f"{name}: layers is {layers}, but there are {depth}; give 1 to {depth}")


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if mask is None else mask.to(query.dtype)
        output: Tensor = self.proj(heads_together(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)))
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
    """A transformer layer.

    Args:
        width: Feature width.
        heads: Attention heads.
        post_norm: Normalise the sum of each branch and its residual, instead of what goes into the branch.
        qkv_bias: Queries, keys and values have a bias.
    """

    def __init__(self, width: int, heads: int, post_norm: bool = False, qkv_bias: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _Feedforward(width)
        self.post_norm = post_norm

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` to the same shape; `mask` is added to the attention's logits ``(B, H, N, N)``."""
        if self.post_norm:
            tokens = self.norm1(tokens + self.attn(tokens, mask))
            out: Tensor = self.norm2(tokens + self.mlp(tokens))
        else:
            tokens = tokens + self.attn(self.norm1(tokens), mask)
            out = tokens + self.mlp(self.norm2(tokens))
        return out


def stack(shape: TransformerShape, post_norm: bool = False, qkv_bias: bool = True) -> nn.ModuleList:
    """The layers of a network, with random weights."""
    blocks = nn.ModuleList(Block(shape.width, shape.heads, post_norm, qkv_bias) for _ in range(shape.depth))
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return blocks


def last_outputs(
    blocks: nn.ModuleList, tokens: Tensor, layers: int, saving: bool, mask: Tensor | None = None
) -> Tensor:
    """``(B, N, D)`` through all `blocks` to what the last so many give, ``(B, L, N, D)``.

    Args:
        blocks: Of `stack`.
        tokens: What goes in.
        layers: How many layers are returned.
        saving: Compute layers again in the backward pass: less memory, about a third more time.
        mask: As for `Block`.
    """
    kept = []
    for number, block in enumerate(blocks):
        if saving and block.training and torch.is_grad_enabled():
            tokens = recompute(block, tokens, mask, use_reentrant=False)
        else:
            tokens = block(tokens, mask)
        if number >= len(blocks) - layers:
            kept.append(tokens)
    return torch.stack(kept, dim=1)
