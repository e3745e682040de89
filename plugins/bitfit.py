"""BitFit: the biases of an encoder are trained, and nothing else of it."""

from __future__ import annotations

import copy

from asd_plugins.beats import BEATs

from asd.encoders import AdaptedEncoder, Encoder
from asd.errors import UserError


class BitFit(AdaptedEncoder):
    """Trains the biases of an encoder alone, those of linear layers, convolutions and normalisations.

    Ben Zaken et al., "BitFit: Simple parameter-efficient fine-tuning for transformer-based masked language-models"
    (2022), arXiv:2106.10199. The library peft has no such method (its BEFT adds vectors to linear layers alone), and
    none is needed: the encoder itself is trained, so it merges to what it is.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        if not any(self.trains(name) for name, _ in encoder.named_parameters()):
            raise UserError(f"BitFit: {type(encoder).__name__} has no biases to train; choose another encoder, or LoRA")
        super().__init__(encoder)

    @classmethod
    def tiny(cls) -> BitFit:
        """A small instance of the same code paths."""
        return cls(BEATs.tiny())

    def trains(self, name: str) -> bool:
        """Whether it is a bias."""
        return name.endswith("bias")

    def merged(self) -> Encoder:
        """A copy of the encoder."""
        return copy.deepcopy(self.encoder)
