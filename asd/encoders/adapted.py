"""What adapters of all kinds share: an encoder that stays as it is, and few parameters of their own that train."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from asd.encoders.base import Encoder


class AdaptedEncoder(Encoder):
    """An encoder of which an adapter's parameters alone train.

    The statistics of its batch normalisation stay as they are too, also in training mode.

    Args:
        encoder: The encoder, whose layers the adapter has changed already.
    """

    listing: ClassVar[tuple[str, str, str] | None] = ("of the encoder", "of the encoder", "of the encoder")

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.augment = encoder.augment
        self.encoder = encoder
        self._keep_statistics()
        self.sample_rate = encoder.sample_rate
        self.feature_dim = encoder.feature_dim
        self.layers = encoder.layers
        self.layout = encoder.layout
        self.branches = encoder.branches
        self.members = encoder.members
        self.seconds = encoder.seconds
        for parameter in self.fixed():
            parameter.requires_grad_(False)

    @abstractmethod
    def trains(self, name: str) -> bool:
        """Whether the parameter of that name is the adapter's."""

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """As the encoder."""
        return self.encoder.spectrogram(waveform)

    def encode(self, spectrogram: Tensor) -> Tensor:
        """As the encoder, with what the adapter changes."""
        return self.encoder.encode(spectrogram)

    def forward(self, waveform: Tensor) -> Tensor:
        """As the encoder, with what the adapter changes."""
        features: Tensor = self.encoder(waveform)
        return features

    def compile_trunk(self, **options: Any) -> None:
        """That of the encoder."""
        self.encoder.compile_trunk(**options)

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
        """All that is not the adapter's."""
        return (parameter for name, parameter in self.named_parameters() if not self.trains(name))


def merges(module: object) -> bool:
    """Whether it is an encoder that itself, apart from encoders within it, has something to merge."""
    return isinstance(module, Encoder) and type(module).merged is not Encoder.merged


def merged_weights(state: Mapping[str, Tensor], module: nn.Module, path: str) -> dict[str, Tensor]:
    """`state` with the weights of every encoder in `module` in its merged form.

    Args:
        state: Weights by name.
        module: What some of them are of.
        path: What its name is in `state`.
    """
    weights = dict(state)
    if merges(module):
        while isinstance(module, Encoder) and merges(module):
            module = module.merged()
        weights = {key: value for key, value in weights.items() if not key.startswith(f"{path}.")}
        weights |= {f"{path}.{key}": value for key, value in module.state_dict().items()}
    for name, child in module.named_children():
        weights = merged_weights(weights, child, f"{path}.{name}")
    return weights
