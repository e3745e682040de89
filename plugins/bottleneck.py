"""Bottleneck adapters: small networks behind the branches of a transformer's layers."""

from __future__ import annotations

import torch.nn.functional as F
from asd_plugins.beats import BEATs
from torch import Tensor, nn

from asd.encoders import AdaptedEncoder, Encoder
from asd.encoders.projections import linear_layers
from asd.errors import UserError

_OWN = "bottleneck"


class Bottleneck(AdaptedEncoder):
    """Trains two thin layers with a residual behind each branch of a transformer's layers, attention and feed-forward.

    Houlsby et al., "Parameter-efficient transfer learning for NLP" (2019), arXiv:1902.00751; the normalisations stay
    as they are here. The library peft has no such method, so the layers are ours. What stands behind a layer cannot be
    folded into its weights: there is nothing to merge.

    Args:
        encoder: The encoder, a transformer.
        width: Of what is between the two layers.
        dropout: Part of that which is dropped in training.
    """

    def __init__(self, encoder: Encoder, width: int = 64, dropout: float = 0.0) -> None:
        if width < 1 or not 0 <= dropout < 1:
            raise UserError(f"Bottleneck: width is {width} and dropout {dropout}; give 1 or more, and a part in [0, 1)")
        if encoder.projections is None:
            raise UserError(
                f"Bottleneck: {type(encoder).__name__} is no transformer, or does not say which layers end its "
                "branches (projections); choose another encoder, or LoRA"
            )
        for name in linear_layers(encoder, encoder.projections.outputs):
            parent, _, own = name.rpartition(".")
            branch = encoder.get_submodule(parent)
            setattr(branch, own, _Narrowed(getattr(branch, own), width, dropout))
        super().__init__(encoder)

    @classmethod
    def tiny(cls) -> Bottleneck:
        """A small instance of the same code paths."""
        return cls(BEATs.tiny(), width=2)

    def trains(self, name: str) -> bool:
        """Whether it is of a thin layer."""
        return f".{_OWN}." in name


class _Narrowed(nn.Module):
    """A linear layer with a bottleneck behind it, which adds nothing before it is trained."""

    def __init__(self, base_layer: nn.Linear, width: int, dropout: float) -> None:
        super().__init__()
        self.base_layer = base_layer
        down = nn.Linear(base_layer.out_features, width)
        up = nn.Linear(width, base_layer.out_features)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.bottleneck = nn.ModuleDict({"down": down, "dropout": nn.Dropout(dropout), "up": up}).to(base_layer.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, N, D)`` to the same shape."""
        branch = self.base_layer(tokens)
        narrow = self.bottleneck["dropout"](F.gelu(self.bottleneck["down"](branch)))
        out: Tensor = branch + self.bottleneck["up"](narrow)
        return out
