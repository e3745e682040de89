"""The autoencoder of the challenge's baseline.

Harada et al., "First-shot anomaly detection for machine condition monitoring" (2023), arXiv:2303.00455: five frames of
128 log-mel bands side by side, four dense layers of 128, a bottleneck of 8, four dense layers of 128.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder
from asd.encoders.frontends import LogMel
from asd.errors import UserError

_WINDOW, _HOP = 1024, 512


class Autoencoder(Encoder):
    """Rebuilds stacks of log-mel frames; its features are what it fails to rebuild, the residuals.

    The residuals of all stacks of a clip come side by side as one vector, for `Reconstruction` as the head and
    `ResidualScorer` as the scorer. The baseline trains one autoencoder for each machine.

    Args:
        seconds: Length of the clips.
        bands: Mel bands.
        frames: Frames in a stack.
        width: Width of the dense layers.
        bottleneck: Width of the narrowest.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 16000

    def __init__(
        self,
        seconds: float = 10.0,
        bands: int = 128,
        frames: int = 5,
        width: int = 128,
        bottleneck: int = 8,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        self.seconds = seconds
        self.samples = round(seconds * self.sample_rate)
        self.frames = frames
        stacks = 1 + self.samples // _HOP - (frames - 1)
        if min(bands, frames, width, bottleneck, stacks) < 1:
            raise UserError(
                f"Autoencoder: {seconds:g} s with bands {bands}, frames {frames}, width {width} and bottleneck "
                f"{bottleneck} leave nothing to rebuild; give {frames * _HOP / self.sample_rate:.2f} s or more and "
                "sizes of 1 or more"
            )
        self.residual_dim = bands * frames
        self.feature_dim = stacks * self.residual_dim
        self.front_end = LogMel(bands=bands, size=_WINDOW, hop_samples=_HOP)
        widths = [self.residual_dim, *[width] * 4, bottleneck, *[width] * 4]
        layers: list[nn.Module] = []
        for given, wanted in pairwise(widths):
            layers += [nn.Linear(given, wanted), nn.BatchNorm1d(wanted, momentum=0.01, eps=1e-3), nn.ReLU()]
        self.dense = nn.Sequential(*layers, nn.Linear(width, self.residual_dim))

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(seconds=1.0, bands=16, width=8, bottleneck=4)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)`` in decibels; trimmed or padded with zeros to the length built for."""
        if waveform.shape[1] != self.samples:
            waveform = F.pad(waveform, (0, self.samples - waveform.shape[1]))
        level: Tensor = self.front_end(waveform)
        return level

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to the residuals of all stacks ``(B, 1, 1, D)``."""
        stacks = spectrogram.unfold(1, self.frames, 1).mT.flatten(2)
        rebuilt: Tensor = self.dense(stacks.flatten(0, 1)).unflatten(0, stacks.shape[:2])
        return (stacks - rebuilt).flatten(1)[:, None, None]

    def stages(self) -> list[nn.Module]:
        """All of it at once: nothing here is pre-trained."""
        return [self.dense]
