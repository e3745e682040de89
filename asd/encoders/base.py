"""The contract of an audio encoder.

Shapes: ``B`` clips, ``T`` samples, ``F`` frames, ``M`` bands, ``L`` layers, ``D`` feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import MethodType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from asd.described import Described
from asd.encoders.augment import Augmentation
from asd.encoders.known_score import KnownScore
from asd.encoders.projections import Projections
from asd.encoders.token_layout import TokenLayout
from asd.encoders.weights_card import WeightsCard


class Statistics(nn.Module):
    """Mean and standard deviation per band over the whole training set, fitted once and kept in buffers.

    Sums are kept in float64, so the result does not depend on the order of the clips or on how they were dealt to
    processes; and on the CPU, since not every device has float64.

    Args:
        bands: Number of bands ``M``.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        # No buffers, which would move with the module.
        self.count = torch.zeros((), dtype=torch.float64, device="cpu")
        self.total = torch.zeros(bands, dtype=torch.float64, device="cpu")
        self.squares = torch.zeros(bands, dtype=torch.float64, device="cpu")
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def observe(self, spectrogram: Tensor) -> None:
        """Add ``(B, F, M)`` to the sums."""
        rows = spectrogram.detach().flatten(0, 1).cpu().double()
        self.count += rows.shape[0]
        self.total += rows.sum(0)
        self.squares += rows.square().sum(0)

    def finish(self) -> None:
        """Turn the sums into mean and standard deviation."""
        mean = self.total / self.count
        self.mean.copy_(mean.float())
        self.std.copy_((self.squares / self.count - mean.square()).clamp_min(1e-12).sqrt().float())
        self.fitted.fill_(True)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to the same shape, standardised per band; unchanged before the fit."""
        return (spectrogram - self.mean) / (self.std + 1e-5)


class Encoder(Described, nn.Module, ABC):
    """Turns waveforms into features; every plug-in is a subclass, and its class name is its name.

    An encoder says nothing of devices, processes, training or evaluation mode or gradients: it is a plain module. It
    never downloads; ``weights=None`` gives random weights.

    Attributes:
        sample_rate: Hz that waveforms must have; the pipeline resamples to it.
        feature_dim: ``D``, declared, not probed.
        layers: ``L``, how many layers `encode` returns.
        layout: How the tokens that `encode` returns lie in time and frequency.
        branches: Widths of the parts of ``D`` that come of separate branches, in order, perhaps several times over;
            none: there are no such parts.
        members: Models that lie side by side in ``D``, equally wide. Each is trained by itself, with an adapter and a
            head of its own, and its embedding is brought to unit length before all are scored together.
        projections: Which linear layers of a transformer adapters stand beside; ``None``: it is none.
        seconds: Length of clip the encoder is built for; ``None``: any. Other lengths are trimmed or padded inside.
        augment: Runs between `spectrogram` and `encode`; identity in evaluation mode.
        cards: Cards of the published weights it loads.
        scores: What it is known to score.
        listing: Sample rate, width and parameters as text for the table of encoders, where building the encoder would
            import a large library; ``None``: they are counted.
        settled: Arguments of the class that were taken from a file of weights, such as its size.
        expected_failures: Name of a check of `asd.testing` to the reason why this encoder cannot pass it.
    """

    sample_rate: int
    feature_dim: int
    layers: int = 1
    layout: TokenLayout = TokenLayout()
    branches: Sequence[int] = ()
    members: int = 1
    projections: Projections | None = None
    seconds: float | None = None
    augment: nn.Module
    cards: ClassVar[Sequence[WeightsCard]] = ()
    scores: ClassVar[Sequence[KnownScore]] = ()
    listing: ClassVar[tuple[str, str, str] | None] = None
    expected_failures: ClassVar[dict[str, str]] = {}

    def __init__(self, augment: Augmentation | None = None) -> None:
        super().__init__()
        self.augment = nn.Identity() if augment is None else augment
        self.settled: dict[str, Any] = {}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths, for tests."""
        return cls()

    @abstractmethod
    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` in [-1, 1] to ``(B, F, M)``."""

    @abstractmethod
    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to ``(B, L, F', D)``, deepest layer last; what ``F'`` counts, `layout` says."""

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The trainable parts from shallow to deep, which together hold every parameter: for thawing and rates."""

    def fixed(self) -> Iterable[nn.Parameter]:
        """Parameters that never train, such as those that LoRA stands beside."""
        return ()

    def decayed(self) -> Iterable[nn.Parameter]:
        """Weight matrices that weight decay should know, beside those of linear, convolutional and attention layers."""
        return ()

    def merged(self) -> Encoder:
        """The encoder without what only training needs; itself where there is no such thing.

        One that holds encoders need not say anything: they are merged where they are.
        """
        return self

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` in [-1, 1] to ``(B, L, F', D)``."""
        features: Tensor = self.encode(self.augment(self.spectrogram(waveform)))
        return features

    def compile_trunk(self, **options: Any) -> None:
        """Compile in place what follows the front end; overridden where that is not `encode` alone.

        Names of parameters stay as they are. A copy is compiled if its original was, and has its own weights.

        Args:
            options: Of `torch.compile`.
        """
        # Of the class, and bound anew: a copy of a bound function would be bound to the original.
        compiled = torch.compile(type(self).encode, **options)
        self.encode = MethodType(compiled, self)  # type: ignore[method-assign]

    def observe(self, waveform: Tensor) -> None:
        """Add ``(B, T)`` to training-set statistics; an encoder that holds `Statistics` overrides it."""
