"""LoRA and DoRA around any encoder: small trained matrices beside frozen weights, through the library peft."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

from asd_plugins.beats import BEATs

from asd.encoders import AdaptedEncoder, Encoder
from asd.encoders.projections import linear_layers
from asd.errors import UserError


class LoRA(AdaptedEncoder):
    """Trains a product of two thin matrices beside each linear layer of an encoder, whose own weights stay as they are.

    So do the statistics of its batch normalisation, also in training mode.

    Hu et al., "LoRA: Low-rank adaptation of large language models" (2021), arXiv:2106.09685; Liu et al., "DoRA:
    Weight-decomposed low-rank adaptation" (2024), arXiv:2402.09353.

    Args:
        encoder: The encoder.
        rank: Columns of the thin matrices.
        alpha: Their product is scaled by alpha / rank.
        dropout: Part of their inputs that is dropped in training.
        targets: Ends of the names of the layers that get them, such as ``q_proj``; ``attention``: those that make
            queries, keys and values, whatever the encoder calls them; ``None``: every linear layer.
        dora: Train the length of each row of the weights too, of which the matrices then change the direction alone.
    """

    def __init__(
        self,
        encoder: Encoder,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Literal["attention"] | Sequence[str] | None = None,
        dora: bool = False,
    ) -> None:
        if rank < 1 or not 0 <= dropout < 1:
            raise UserError(f"LoRA: rank is {rank} and dropout {dropout}; give 1 or more, and a part in [0, 1)")
        chosen = _chosen(encoder, targets)
        # Imports transformers, which only those wait for who use it.
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen, use_dora=dora)
        inject_adapter_in_model(config, encoder)
        super().__init__(encoder)

    @classmethod
    def tiny(cls) -> LoRA:
        """A small instance of the same code paths."""
        return cls(BEATs.tiny(), rank=2)

    def trains(self, name: str) -> bool:
        """Whether it is of a thin matrix, or the length of rows."""
        return ".lora_" in name

    def merged(self) -> Encoder:
        """A copy of the encoder with the products added to its weights: as large and as fast as before."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        encoder = copy.deepcopy(self.encoder)
        for name, module in list(encoder.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge(safe_merge=True)
                parent, _, own = name.rpartition(".")
                setattr(encoder.get_submodule(parent), own, module.get_base_layer())
        return encoder


def _chosen(encoder: Encoder, targets: Literal["attention"] | Sequence[str] | None) -> list[str]:
    name, linear = type(encoder).__name__, linear_layers(encoder)
    ends = f"it has {', '.join(sorted({one.rpartition('.')[2] for one in linear})) or 'none'}"
    if isinstance(targets, str):
        if targets != "attention":
            raise UserError(f"LoRA: targets is {targets!r}; give attention, or a list of ends of names: {ends}")
        if encoder.projections is None:
            raise UserError(
                f"LoRA: {name} does not say which of its layers are those of attention (projections); give targets as "
                f"ends of names, of which {ends}"
            )
        targets = encoder.projections.attention
    chosen = linear_layers(encoder, targets)
    if not chosen:
        raise UserError(f"LoRA: no linear layer of {name} is chosen by targets {targets}; {ends}")
    return chosen
