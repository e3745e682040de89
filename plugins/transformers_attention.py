"""WavLM's attention by its own layers, where transformers hands their weights to a function of torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.attention import heads_together


def call_projections(model: nn.Module) -> None:
    """Have the attention of a WavLM call its linear layers, so that what stands in their place or beside them is heard.

    The function of torch that it uses otherwise is given the weights alone: LoRA beside queries, keys and values would
    be left out without a word, and a layer that wraps the last one would have no weights to give.
    """
    for module in model.modules():
        if type(module).__name__ == "WavLMAttention":
            # Of the class, not of the object: a copy shall not hold on to the original.
            attention: Any = type(module)
            module.__class__ = _calling(attention)


@cache
def _calling(attention: type[Any]) -> type[Any]:
    class Calling(attention):  # type: ignore[misc]
        def torch_multi_head_self_attention(
            self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
        ) -> tuple[Tensor, None]:
            """``(B, N, D)`` to the same shape, with a bias ``(B * H, N, N)``; clips are all as long."""
            query, key, value = (
                project(hidden_states).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
                for project in (self.q_proj, self.k_proj, self.v_proj)
            )
            mask = gated_position_bias.unflatten(0, (-1, self.num_heads)).to(query.dtype)
            dropout = self.dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
            return self.out_proj(heads_together(mixed)), None

    Calling.__name__ = attention.__name__
    return Calling
