"""Several encoders side by side: their features, frame by frame, in one embedding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch
import torch.nn.functional as F
import torchaudio
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import Dasheng
from torch import Tensor, nn

from asd.encoders import Encoder
from asd.errors import UserError


class Fusion(Encoder):
    """Runs encoders on the same clip and concatenates their features: ``D`` is the sum of their widths.

    The frames of all are averaged down to the fewest that any of them gives. Each keeps its own front end and
    augmentation; an encoder for a lower sample rate gets the clip resampled.

    Args:
        encoders: The encoders, which must return the same number of layers; ``None``: BEATs and Dasheng.
    """

    listing = ("16000 Hz", "1536", "175.76 M")

    def __init__(self, encoders: list[Encoder] | None = None) -> None:
        super().__init__()
        parts: Sequence[Encoder] = [BEATs(), Dasheng()] if encoders is None else encoders
        if len(parts) < 2 or len({part.layers for part in parts}) > 1:
            raise UserError(
                "Fusion: give two encoders or more that return the same number of layers, not "
                f"{[part.layers for part in parts]}"
            )
        self.encoders = nn.ModuleList(parts)
        self.layers = parts[0].layers
        self.sample_rate = max(part.sample_rate for part in parts)
        self.feature_dim = sum(part.feature_dim for part in parts)
        self.resample = nn.ModuleList(_resampler(self.sample_rate, part.sample_rate) for part in parts)

    @classmethod
    def tiny(cls) -> Fusion:
        """A small instance of the same code paths."""
        return cls([BEATs.tiny(), Dasheng.tiny()])

    @property
    def widths(self) -> list[int]:
        """``D`` of each encoder, in order."""
        return [int(part.feature_dim) for part in self._parts()]

    def _parts(self) -> list[Encoder]:
        return [part for part in self.encoders if isinstance(part, Encoder)]

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, 1, T)``: each encoder makes a spectrogram of its own in `encode`."""
        return waveform[:, None]

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, 1, T)`` to ``(B, L, F', D)``."""
        waveform = spectrogram[:, 0]
        features = [part(resample(waveform)) for part, resample in zip(self._parts(), self.resample, strict=True)]
        frames = min(one.shape[2] for one in features)
        return torch.cat([_average_frames(one, frames) for one in features], dim=-1)

    def stages(self) -> list[nn.Module]:
        """The stages of all encoders together, aligned at the deepest."""
        deepest_first = zip_longest(*(reversed(part.stages()) for part in self._parts()))
        levels: list[nn.Module] = [nn.ModuleList(s for s in level if s is not None) for level in deepest_first]
        return levels[::-1]

    def observe(self, waveform: Tensor) -> None:
        """Add ``(B, T)`` to the training-set statistics of every encoder that keeps some."""
        for part, resample in zip(self._parts(), self.resample, strict=True):
            part.observe(resample(waveform))


def _resampler(given: int, wanted: int) -> nn.Module:
    if given == wanted:
        return nn.Identity()
    module: nn.Module = torchaudio.transforms.Resample(given, wanted)
    return module


def _average_frames(features: Tensor, frames: int) -> Tensor:
    if features.shape[2] == frames:
        return features
    clips, layers, _, width = features.shape
    return F.adaptive_avg_pool1d(features.flatten(0, 1).mT, frames).mT.reshape(clips, layers, frames, width)
