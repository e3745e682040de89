"""aiSFX: a convolutional network trained to index libraries of sound effects, with the front end of Essentia.

Ma, Lerch, "Representation learning for the automatic indexing of sound effects libraries" (ISMIR 2022),
arXiv:2208.09096; the model X-Sequential-CE.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from asd_plugins.conv_layers import ConvolutionBlock, Rows, check_choice, first_of, weights_of_blocks
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.constants import constant
from asd.encoders.mel import BandSpectrogram, mel_filters, pad_end
from asd.encoders.pretrained import load_strict
from asd.errors import UserError

_BANDS, _WINDOW, _HOP = 96, 2048, 1024
_FRAMES, _FRAMES_HOP = 100, 50
_POOLINGS = ("max", "max", "max", None)
# What the authors divide the logarithm by.
_SCALE = 9.457798957824707


class AiSFX(Encoder):
    """aiSFX at 44.1 kHz, 4.7 M parameters. A frame is a stretch of 100 spectra, 2.3 s, one every 1.16 s.

    As it is, the features of a stretch are its last map, averaged over frequency, and the maximum of that over time,
    which is the authors' embedding. A clip shorter than a stretch is padded with silence, where the authors' code fails
    at half of one; of a longer one, what is left behind the last whole stretch is not heard, as with the authors.
    Their package's other front end, by librosa, is not the one that the weights were trained with.

    Args:
        layers: Only 1: earlier maps have other widths, which `blocks` chooses from.
        blocks: Blocks of two convolutions that are run, 1 to 4.
        rows: Frequency rows of the last map, 12 after all blocks: averaged, or each kept as a token.
        width: Channels of the first block; each of the others doubles them. ``None``: those of the weights, or 64.
        weights: The authors' file, or its part ``embedding_net``, or the name of one that is in the cache folder
            (``aisfx``); ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 44100
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(54.74, "frozen", "RealMix", "block 2 with its rows, K-means; tests/benchmarks/RESULTS.md"),
        KnownScore(54.60, "tuned", "RealMix", "block 2, as recipe/mobilenet; tests/benchmarks/RESULTS.md"),
    )
    cards: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "aisfx",
            "checkpoint.pth",
            "CC-BY-4.0",
            "arXiv:2208.09096",
            size=24900277,
            sha256="499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
            page="the package aisfx 0.1.2 (aisfx/models/checkpoint.pth in its wheel)",
        ),
    )

    def __init__(
        self,
        layers: int = 1,
        blocks: int = len(_POOLINGS),
        rows: Rows = "averaged",
        width: int | None = None,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        check_choice("AiSFX", layers, blocks, len(_POOLINGS), rows)
        published = None if weights is None else weights_of_blocks(weights, "aiSFX")
        if published is not None:
            found = published.dims("conv_block1.conv1.weight", 4)[0]
            if width not in (None, found):
                raise UserError(f"{published.path} has width {found}; set width to it, or leave it out")
            published.check_holds(9 * (8 * found) ** 2)
            width = found
        width = 64 if width is None else width
        if width < 1:
            raise UserError(f"AiSFX: width is {width}; give 64 for the published weights")
        filters = mel_filters(_BANDS, _WINDOW, self.sample_rate, 0.0, self.sample_rate / 2, "mel", "sum")
        window = constant(torch.hann_window, _WINDOW, periodic=False)
        self.front_end = BandSpectrogram(window, _HOP, filters)
        widths = [1, *(width * 2**number for number in range(len(_POOLINGS)))]
        named = {
            f"conv_block{number}": ConvolutionBlock(inputs, outputs, 2, 3, pooling)
            for number, ((inputs, outputs), pooling) in enumerate(zip(pairwise(widths), _POOLINGS, strict=True), 1)
        }
        if published is not None:
            load_strict(nn.ModuleDict(named), published.state, published.path)
            self.settled = {"width": width}
        self.features = first_of(named, blocks)
        self.feature_dim = widths[blocks]
        self.rows_kept = rows == "kept"
        kept = _BANDS // 2 ** sum(pooling is not None for pooling in _POOLINGS[:blocks]) if self.rows_kept else 1
        hop = _FRAMES_HOP * _HOP / self.sample_rate
        # The first spectrum is of the window that is centred on the first sample.
        middle = (_FRAMES - 1) / 2 * _HOP / self.sample_rate
        self.layout = TokenLayout(kept, "time", hop_seconds=hop, start_seconds=middle - hop / 2)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(blocks=2, rows="kept", width=8)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 44.1 kHz to the log-mel ``(B, F, 96)``, ``F = 1 + ceil(T / 1024)``."""
        hops = -(-waveform.shape[-1] // _HOP)
        mel: Tensor = self.front_end(pad_end(F.pad(waveform, (_HOP, 0)), (hops + 2) * _HOP))
        return (10000 * mel + 1).log10() / _SCALE

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 96)`` to ``(B, 1, P * R, D)``, a stretch ``P`` every 50 frames in `layout`'s rows ``R``."""
        missing = max(0, _FRAMES - spectrogram.shape[1])
        stretches = F.pad(spectrogram, (0, 0, 0, missing)).unfold(1, _FRAMES, _FRAMES_HOP).mT
        maps = self.features(stretches.flatten(0, 1)[:, None])
        columns = maps if self.rows_kept else maps.mean(3, keepdim=True)
        tokens: Tensor = columns.amax(2).mT.unflatten(0, (-1, stretches.shape[1])).flatten(1, 2)
        return tokens[:, None]

    def stages(self) -> list[nn.Module]:
        """Block after block."""
        return list(self.features)
