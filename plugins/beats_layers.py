"""The layers of BEATs.

The gated relative position bias is that of WavLM (Chen et al. 2021, arXiv:2110.13900), the residual scale that of
DeepNet (Wang et al. 2022, arXiv:2203.00555).
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.attention import heads_together
from asd.encoders.pretrained import Weights
from asd.utils.precision import full_precision


@dataclass(frozen=True)
class BEATsShape:
    """Dimensions of the network; the defaults are those of every published file.

    Attributes:
        depth: Number of layers.
        width: Feature width.
        hidden: Width of the feed-forward layers.
        heads: Attention heads.
        patch_width: Width of the patch embedding before it is projected.
        position_kernel: Kernel of the convolution over tokens that marks their position.
        position_groups: Its groups.
        buckets: Rows of the table of relative positions.
        max_distance: Distance in tokens from which on all share a row.
    """

    depth: int = 12
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    patch_width: int = 512
    position_kernel: int = 128
    position_groups: int = 16
    buckets: int = 320
    max_distance: int = 800

    @classmethod
    def of(cls, weights: Weights) -> Self:
        """The dimensions of weights under this module's names; how far positions are told apart is in ``cfg`` alone.

        Raises:
            UserError: A tensor that tells them is not there, or the file promises more than it holds.
        """
        width, patch_width = weights.dims("post_extract_proj.weight")
        hidden, depth = weights.dims("blocks.0.fc1.weight")[0], weights.depth("blocks")
        _, grouped, kernel = weights.dims("position.weight_v")
        buckets, heads = weights.dims("relative_bias.weight")
        weights.check_holds(depth * (4 * width + 2 * hidden) * width + width * grouped * kernel)
        distance = weights.settings("cfg").get("max_distance", cls.max_distance)
        return cls(depth, width, hidden, heads, patch_width, kernel, width // grouped, buckets, distance)


class PositionConvolution(nn.Module):
    """Grouped convolution over tokens whose weight is a direction and a length for each tap of the kernel.

    Args:
        shape: Dimensions.
    """

    # Not torch's weight_norm: one form of it cannot be deep-copied after a forward pass, the other renames the keys.

    def __init__(self, shape: BEATsShape) -> None:
        super().__init__()
        width, kernel, groups = shape.width, shape.position_kernel, shape.position_groups
        device = torch.get_default_device()
        with torch.device("cpu"):  # see `asd.encoders.constants`
            direction = torch.randn(width, width // groups, kernel) * math.sqrt(4 / (kernel * width))
            length = direction.norm(dim=(0, 1), keepdim=True)
        self.weight_v = nn.Parameter(direction.to(device))
        self.weight_g = nn.Parameter(length.to(device))
        self.bias = nn.Parameter(torch.zeros(width))
        self.groups = groups

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, N, D)`` to the same shape."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        kernel = weight.shape[2]
        # In bfloat16 and on processors with AMX, oneDNN 3.11 gets groups of fewer than 16 channels wrong.
        narrow = weight.shape[1] < 16
        with full_precision(tokens) if narrow else nullcontext():
            inputs = tokens.float() if narrow else tokens
            marks = F.conv1d(inputs.mT, weight, self.bias, padding=kernel // 2, groups=self.groups)
        return F.gelu(marks[:, :, : tokens.shape[1]]).mT


class GatedAttention(nn.Module):
    """Self-attention with a bias for the distance of two tokens, gated by the content of the query.

    Args:
        shape: Dimensions.
        dropout: Part of the attention weights that is dropped in training.
    """

    def __init__(self, shape: BEATsShape, dropout: float) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(shape.width, shape.width) for _ in range(4))
        self.grep_linear = nn.Linear(shape.width // shape.heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, shape.heads, 1, 1))
        self.heads = shape.heads
        self.dropout = dropout

    def forward(self, tokens: Tensor, bias: Tensor, padding: Tensor | None) -> Tensor:
        """``(B, N, D)`` to the same shape; `bias` is ``(H, N, N)``, `padding` ``(B, N)``."""
        query, key, value = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        # Each query says from its own content how much its position matters.
        gates = self.grep_linear(query).float().unflatten(3, (2, 4)).sum(4).sigmoid()
        gate = gates[..., :1] * (gates[..., 1:] * self.grep_a - 1) + 2
        mask = (gate * bias).to(query.dtype)
        if padding is not None:
            mask = mask.masked_fill(padding[:, None, None, :], torch.finfo(mask.dtype).min)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        output: Tensor = self.out_proj(heads_together(mixed))
        return output


class BEATsLayer(nn.Module):
    """Attention and feed-forward, each followed by normalisation, on a scaled residual.

    Args:
        shape: Dimensions.
        dropout: Part of the attention weights and of each branch that is dropped in training.
    """

    def __init__(self, shape: BEATsShape, dropout: float) -> None:
        super().__init__()
        self.self_attn = GatedAttention(shape, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(dropout)
        self.scale = (2 * shape.depth) ** 0.25

    def forward(self, tokens: Tensor, bias: Tensor, padding: Tensor | None) -> Tensor:
        """``(B, N, D)`` to the same shape, as for `GatedAttention`."""
        attended = self.dropout(self.self_attn(tokens, bias, padding))
        tokens = self.self_attn_layer_norm(self.scale * tokens + attended)
        changed = self.dropout(self.fc2(F.gelu(self.fc1(tokens))))
        out: Tensor = self.final_layer_norm(self.scale * tokens + changed)
        return out
