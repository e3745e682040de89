"""Several seeds of one encoder, trained in one pass as an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from asd_plugins.dasheng import Dasheng
from asd_plugins.dual_branch import DualBranchCNN
from torch import Tensor, nn

from asd.described import Described
from asd.encoders import Encoder
from asd.errors import UserError


class SeedEnsemble(Encoder):
    """Copies of an encoder that begin from other random weights, with adapters and heads of their own.

    They share what is heard: a clip is read, cropped and mixed once for all, and nothing else; each gets the gradients
    that it would get alone, but for a limit on their norm (``trainer.gradient_clip_val``), which is that of all. Scored
    is the concatenation of their embeddings, each at unit length. An ensemble of networks from other seeds is how the
    dual-branch CNN is used by its author, who trains five or ten one after another (Wilkinghoff 2023, "Design choices
    for learning embeddings from auxiliary tasks"); why it helps: Lakshminarayanan et al. 2017, arXiv 1612.01474.

    Published weights are the same in every copy: then the heads, and what LoRA adds, alone begin elsewhere.

    Args:
        encoder: The encoder; ``None``: DualBranchCNN.
        count: How many there are of it.
    """

    listing: ClassVar[tuple[str, str, str] | None] = ("of the encoder", "of the encoder", "of the encoder")

    def __init__(self, encoder: Encoder | None = None, count: int = 5) -> None:
        super().__init__()
        first = DualBranchCNN() if encoder is None else encoder
        if count < 2 or first.members > 1:
            raise UserError(f"SeedEnsemble: count is {count}; give 2 or more, of an encoder that is no ensemble itself")
        self.encoders = nn.ModuleList([first, *(_anew(first) for _ in range(count - 1))])
        self.members = count
        self.sample_rate = first.sample_rate
        self.feature_dim = count * first.feature_dim
        self.layers = first.layers
        self.layout = first.layout
        self.projections = first.projections
        self.branches = first.branches
        self.seconds = first.seconds

    @classmethod
    def tiny(cls) -> SeedEnsemble:
        """A small instance of the same code paths."""
        return cls(Dasheng.tiny(), 2)

    @property
    def encoder(self) -> Encoder:
        """The first of them."""
        return self._each()[0]

    def _each(self) -> list[Encoder]:
        return [one for one in self.encoders if isinstance(one, Encoder)]

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, 1, T)``: each encoder makes a spectrogram of its own in `encode`."""
        return waveform[:, None]

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, 1, T)`` to ``(B, L, F', D)``, encoder after encoder."""
        return torch.cat([one(spectrogram[:, 0]) for one in self._each()], -1)

    def compile_trunk(self, **options: Any) -> None:
        """That of every encoder; each has a front end of its own."""
        for one in self._each():
            one.compile_trunk(**options)

    def observe(self, waveform: Tensor) -> None:
        """Add ``(B, T)`` to the training-set statistics of every encoder."""
        for one in self._each():
            one.observe(waveform)

    def stages(self) -> list[nn.Module]:
        """The stages of all encoders together."""
        return [nn.ModuleList(level) for level in zip(*(one.stages() for one in self._each()), strict=True)]


def _anew(value: Any) -> Any:
    """The same thing made once more, with random weights of its own."""
    if isinstance(value, Described):
        return type(value)(**{name: _anew(one) for name, one in vars(value)["_arguments"].items()})
    if isinstance(value, Mapping):
        return {key: _anew(one) for key, one in value.items()}
    return [_anew(one) for one in value] if isinstance(value, list | tuple) else value
