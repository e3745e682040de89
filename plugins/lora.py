"""LoRA around any encoder: small trained matrices beside frozen weights, through the library peft."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from asd_plugins.beats import BEATs
from torch import Tensor, nn

from asd.encoders import Encoder
from asd.errors import UserError


class LoRA(Encoder):
    """Trains a product of two thin matrices beside each linear layer of an encoder, whose own weights stay as they are.

    So do the statistics of its batch normalisation, also in training mode.

    Hu et al., "LoRA: Low-rank adaptation of large language models" (2021), arXiv:2106.09685.

    Args:
        encoder: The encoder.
        rank: Columns of the thin matrices.
        alpha: Their product is scaled by alpha / rank.
        dropout: Part of their inputs that is dropped in training.
        targets: Ends of the names of the layers that get them, such as ``q_proj``; ``None``: every linear layer.
    """

    listing: ClassVar[tuple[str, str, str] | None] = ("of the encoder", "of the encoder", "of the encoder")

    def __init__(
        self,
        encoder: Encoder,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.augment = encoder.augment
        if rank < 1 or not 0 <= dropout < 1:
            raise UserError(f"LoRA: rank is {rank} and dropout {dropout}; give 1 or more, and a part in [0, 1)")
        linear = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
        chosen = [name for name in linear if targets is None or name.endswith(tuple(targets))]
        if not chosen:
            ends = sorted({name.rpartition(".")[2] for name in linear})
            raise UserError(
                f"LoRA: no linear layer of {type(encoder).__name__} is chosen by targets {targets}; "
                f"it has {', '.join(ends) or 'none'}"
            )
        # Imports transformers, which only those wait for who use it.
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen)
        inject_adapter_in_model(config, encoder)
        self.encoder = encoder
        self._keep_statistics()
        self.sample_rate = encoder.sample_rate
        self.feature_dim = encoder.feature_dim
        self.layers = encoder.layers
        self.layout = encoder.layout
        self.branches = encoder.branches
        self.seconds = encoder.seconds

    @classmethod
    def tiny(cls) -> LoRA:
        """A small instance of the same code paths."""
        return cls(BEATs.tiny(), rank=2)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """As the encoder."""
        return self.encoder.spectrogram(waveform)

    def encode(self, spectrogram: Tensor) -> Tensor:
        """As the encoder, with what the thin matrices add."""
        return self.encoder.encode(spectrogram)

    def forward(self, waveform: Tensor) -> Tensor:
        """As the encoder, with what the thin matrices add."""
        features: Tensor = self.encoder(waveform)
        return features

    def observe(self, waveform: Tensor) -> None:
        """As the encoder."""
        self.encoder.observe(waveform)

    def stages(self) -> list[nn.Module]:
        """Those of the encoder."""
        return self.encoder.stages()

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode, but for batch normalisation."""
        super().train(mode)
        self._keep_statistics()
        return self

    def _keep_statistics(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def fixed(self) -> Iterable[nn.Parameter]:
        """The encoder's own weights."""
        return (parameter for name, parameter in self.named_parameters() if ".lora_" not in name)

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
