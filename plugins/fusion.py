"""Several encoders side by side: their features of the same time in one embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import Dasheng
from numpy.typing import NDArray
from torch import Tensor, nn

from asd.encoders import Encoder, Projections, TokenLayout
from asd.errors import UserError
from asd.utils.precision import full_precision

Alignment = Literal["time", "tokens"]
Edges = NDArray[np.float64]


class Fusion(Encoder):
    """Runs encoders on the same clip and concatenates their features: ``D`` is the sum of their widths.

    The frames are those of the encoder with the longest: every other one gives the mean of what it has at that time of
    the clip, over all its rows of frequency; past the end of what it hears, its last frame. Each keeps its own front
    end and augmentation; an encoder for a lower sample rate gets the clip resampled.

    Args:
        encoders: The encoders, which must return the same number of layers; ``None``: BEATs and Dasheng.
        normalise: Bring each encoder's features of a clip to one norm, layer by layer, so that none outweighs the
            others in a distance because its numbers are larger.
        align: Join features of the same ``time``; or ``tokens`` of the same number whatever they hold, as earlier
            versions did, for what was trained by these.
    """

    listing = ("16000 Hz", "1536", "175.76 M")

    def __init__(
        self, encoders: list[Encoder] | None = None, normalise: bool = True, align: Alignment = "time"
    ) -> None:
        super().__init__()
        parts: Sequence[Encoder] = [BEATs(), Dasheng()] if encoders is None else encoders
        if len(parts) < 2 or len({part.layers for part in parts}) > 1:
            raise UserError(
                "Fusion: give two encoders or more that return the same number of layers, not "
                f"{[part.layers for part in parts]}"
            )
        if any(part.members > 1 for part in parts):
            raise UserError(
                "Fusion: an encoder is an ensemble; fuse the encoders, and put SeedEnsemble around the fusion"
            )
        if align not in get_args(Alignment):
            raise UserError(f"Fusion: align is {align!r}; give time or tokens")
        self.encoders = nn.ModuleList(parts)
        self.normalise = normalise
        self.align = align
        self.layers = parts[0].layers
        self.sample_rate = max(part.sample_rate for part in parts)
        self.projections = Projections.of(part.projections for part in parts)
        self.branches = tuple(part.feature_dim for part in parts)
        self.feature_dim = sum(self.branches)
        self.resample = nn.ModuleList(_resampler(self.sample_rate, part.sample_rate, align) for part in parts)
        if align == "time" and all(part.layout.hop_seconds for part in parts):
            longest = max((part.layout for part in parts), key=lambda one: one.hop_seconds or 0.0)
            self.layout = TokenLayout(hop_seconds=longest.hop_seconds, start_seconds=longest.start_seconds)

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
        if self.align == "tokens":
            tokens = min(one.shape[2] for one in features)
            features = [_average_tokens(one, tokens) for one in features]
        else:
            features = self._at_same_times(features, waveform.shape[1] / self.sample_rate)
        if self.normalise:
            norm = (self.feature_dim / len(features)) ** 0.5
            features = [norm / one.shape[3] ** 0.5 * _of_unit_rms(one) for one in features]
        return torch.cat(features, dim=-1)

    def _at_same_times(self, features: list[Tensor], seconds: float) -> list[Tensor]:
        """Features as each encoder gives them, to those of the ``F'`` longest frames that the clip has."""
        parts = self._parts()
        frames = [part.layout.frames(one) for part, one in zip(parts, features, strict=True)]
        edges = [
            part.layout.edges(one.shape[2], part.seconds or seconds) for part, one in zip(parts, frames, strict=True)
        ]
        hop, start = self.layout.hop_seconds, self.layout.start_seconds
        if hop is None:
            longest = max(edges, key=lambda one: float(one[1] - one[0]))
            hop, start = float(longest[1] - longest[0]), float(longest[0])
        # Those whose centre is heard, but for rounding.
        count = max(1, math.ceil((seconds - start) / hop - 0.5 - 1e-6))
        wanted = _reaching(start + hop * np.arange(count + 1, dtype=np.float64), 0.0, seconds)
        return [_averaged(one, given, wanted) for one, given in zip(frames, edges, strict=True)]

    def stages(self) -> list[nn.Module]:
        """The stages of all encoders together, aligned at the deepest."""
        deepest_first = zip_longest(*(reversed(part.stages()) for part in self._parts()))
        levels: list[nn.Module] = [nn.ModuleList(s for s in level if s is not None) for level in deepest_first]
        return levels[::-1]

    def compile_trunk(self, **options: Any) -> None:
        """That of every encoder; each has a front end of its own."""
        for one in self._parts():
            one.compile_trunk(**options)

    def observe(self, waveform: Tensor) -> None:
        """Add ``(B, T)`` to the training-set statistics of every encoder that keeps some."""
        for part, resample in zip(self._parts(), self.resample, strict=True):
            part.observe(resample(waveform))


def _resampler(given: int, wanted: int, align: Alignment) -> nn.Module:
    if given == wanted:
        return nn.Identity()
    from asd.encoders.resample import Resample  # not above: it imports torchaudio

    if align == "tokens":
        return Resample(given, wanted)
    # Within 0.4 dB up to 0.94 of the lower half rate and 115 dB down from it on: what recordings are decoded with
    # (soxr, HQ). By itself the library lets what lies just above through with -7 dB.
    return Resample(
        given, wanted, resampling_method="sinc_interp_kaiser", lowpass_filter_width=96, rolloff=0.96, beta=13.0
    )


def _reaching(edges: Edges, start: float, end: float) -> Edges:
    """The same frames, the first and the last of which reach to `start` and `end` if they did not."""
    return np.array([min(edges[0], start), *edges[1:-1], max(edges[-1], end)])


def _averaged(frames: Tensor, given: Edges, wanted: Edges) -> Tensor:
    """``(B, L, G, D)`` to ``(B, L, F, D)``, each frame the mean of those of the same time.

    Args:
        frames: Features of each frame.
        given: ``(G + 1,)``, where these frames begin and end, in seconds.
        wanted: ``(F + 1,)``, the same of those that are wanted.
    """
    given = _reaching(given, wanted[0], wanted[-1])
    shared = np.minimum(wanted[1:, None], given[1:]) - np.maximum(wanted[:-1, None], given[:-1])
    share = shared.clip(0) / shared.clip(0).sum(1, keepdims=True)
    with full_precision(frames):
        weight = torch.from_numpy(share.astype(np.float32)).to(frames.device, non_blocking=True)
        return weight @ frames.float()


def _of_unit_rms(features: Tensor) -> Tensor:
    """``(B, L, F, D)`` with a root mean square of 1 over frames and width."""
    with full_precision(features):
        features = features.float()
        return features * (features.square().mean((2, 3), keepdim=True) + 1e-12).rsqrt()


def _average_tokens(features: Tensor, tokens: int) -> Tensor:
    if features.shape[2] == tokens:
        return features
    clips, layers, _, width = features.shape
    return F.adaptive_avg_pool1d(features.flatten(0, 1).mT, tokens).mT.reshape(clips, layers, tokens, width)
