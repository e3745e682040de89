"""YAMNet: a MobileNet of the first version on patches of a log-mel spectrogram, trained on AudioSet.

Howard et al., "MobileNets: Efficient convolutional neural networks for mobile vision applications" (2017),
arXiv:1704.04861, table 1; the front end and the weights are those of Google's AudioSet models.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from asd_plugins.conv_layers import Rows, check_choice, check_same, classifier_of, depthwise, first_of
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.constants import constant
from asd.encoders.mel import BandSpectrogram, mel_filters, pad_end
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.weights_cache import find
from asd.errors import UserError

_BANDS, _HOP = 64, 160
_PATCH, _PATCH_HOP = 96, 48
# Samples that the windows of one patch reach over.
_PATCH_SAMPLES = 15600
_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class _Convolution(nn.Module):
    """Convolution, batch normalisation and ReLU, padded as TensorFlow pads maps of even sizes: at stride 2 behind."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, alone: bool = False) -> None:
        super().__init__()
        padding = kernel // 2 if stride == 1 else 0
        if alone:
            self.conv = depthwise(outputs, kernel, stride, padding)
        else:
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-4, momentum=0.01)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, T, M)`` to ``(B, C', T', M')``."""
        if self.conv.stride[0] > 1:
            maps = F.pad(maps, (0, 1, 0, 1))
        return F.relu(self.bn(self.conv(maps)))


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    depthwise = _Convolution(inputs, inputs, 3, stride, alone=True)
    return nn.Sequential(OrderedDict(depthwise_conv=depthwise, pointwise_conv=_Convolution(inputs, outputs, 1)))


class YAMNet(Encoder):
    """YAMNet at 16 kHz, 3.2 M parameters. A frame is a patch of 0.96 s, one every 0.48 s.

    As it is, the features of a patch are its last map, averaged, which is the authors' embedding. Clips are padded with
    zeros at the end until they divide into patches, as the authors do; ports to PyTorch that centre their windows or
    lay patches side by side compute something else.

    Args:
        layers: Only 1: earlier maps have other widths, which `blocks` chooses from.
        blocks: Separable convolutions that are run, 1 to 13.
        rows: Frequency rows of the last map, two after all blocks: averaged, or each kept as a token.
        widths: Channels of the first convolution and of the 13 others; ``None``: those of the weights, or those that
            were published.
        weights: A file in the layout of torch_audioset, or the name of one that was fetched (``yamnet``); ``None``:
            random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 16000
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(58.06, "frozen", "RealMix", "block 5 with its rows, K-means; tests/benchmarks/RESULTS.md"),
        KnownScore(61.83, "tuned", "RealMix", "block 9, as recipe/mobilenet; tests/benchmarks/RESULTS.md"),
    )
    cards: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "yamnet",
            "yamnet.pth",
            "Apache-2.0",
            "arXiv:1704.04861",
            "https://github.com/w-hc/torch_audioset/releases/download/v0.1/yamnet.pth",
        ),
    )

    def __init__(
        self,
        layers: int = 1,
        blocks: int = len(_WIDTHS) - 1,
        rows: Rows = "averaged",
        widths: Sequence[int] | None = None,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        check_choice("YAMNet", layers, blocks, len(_WIDTHS) - 1, rows)
        published = None if weights is None else _read(weights)
        if published is not None:
            widths = _check_widths(published, widths)
        widths = _WIDTHS if widths is None else tuple(widths)
        if len(widths) != len(_WIDTHS) or min(widths) < 1:
            raise UserError(f"YAMNet: widths is {list(widths)}; give {len(_WIDTHS)} numbers of channels")
        filters = mel_filters(_BANDS, 512, self.sample_rate, 125.0, 7500.0, straight_in="mel")
        window = constant(torch.hann_window, 400)
        self.front_end = BandSpectrogram(window, _HOP, filters, magnitude=True, size=512)
        parts = [nn.Sequential(OrderedDict(fused=_Convolution(1, widths[0], 3, _STRIDES[0])))]
        parts += [_separable(*pair, stride) for pair, stride in zip(pairwise(widths), _STRIDES[1:], strict=True)]
        named = {f"layer{number}": part for number, part in enumerate(parts, 1)}
        if published is not None:
            state = {key: value for key, value in published.state.items() if not key.startswith("classifier.")}
            load_strict(nn.ModuleDict(named), state, published.path)
            self.settled = {"widths": list(widths)}
        self.features = first_of(named, 1 + blocks)
        # Convolutions on the CPU are faster where channels lie together.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feature_dim = widths[blocks]
        self.rows_kept = rows == "kept"
        hop = _PATCH_HOP * _HOP / self.sample_rate
        middle = _PATCH_SAMPLES / self.sample_rate / 2
        kept = _BANDS // math.prod(_STRIDES[: 1 + blocks]) if self.rows_kept else 1
        self.layout = TokenLayout(kept, "time", hop_seconds=hop, start_seconds=middle - hop / 2)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(blocks=2, rows="kept", widths=[8] * len(_WIDTHS))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to the log-mel ``(B, 96 + 48 * k, 64)`` of the clip and of what it is padded with."""
        hop = _PATCH_HOP * _HOP
        further = -(-max(0, waveform.shape[-1] - _PATCH_SAMPLES) // hop)
        mel: Tensor = self.front_end(pad_end(waveform, _PATCH_SAMPLES + further * hop))
        return (mel + 0.001).log()

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 64)`` to ``(B, 1, P * R, D)``, a patch ``P`` every 48 frames in `layout`'s rows ``R``."""
        patches = spectrogram.unfold(1, _PATCH, _PATCH_HOP).mT  # (B, P, 96, 64)
        maps = self.features(patches.flatten(0, 1)[:, None].contiguous(memory_format=torch.channels_last))
        columns = maps.mean(2) if self.rows_kept else maps.mean((2, 3))[:, :, None]
        tokens: Tensor = columns.mT.unflatten(0, (-1, patches.shape[1])).flatten(1, 2)
        return tokens[:, None]

    def stages(self) -> list[nn.Module]:
        """The first convolution, then block after block."""
        return list(self.features)


def _read(path: str) -> Weights:
    return weights_of(find(path), "YAMNet", "layer1.fused.conv.weight")


def _check_widths(weights: Weights, asked: Sequence[int] | None) -> list[int]:
    """The widths of the weights, which must be those that are asked for."""
    keys = [f"layer{number}.pointwise_conv.conv.weight" for number in range(2, len(_WIDTHS) + 1)]
    found = [weights.dims(key, 4)[0] for key in ("layer1.fused.conv.weight", *keys)]
    weights.check_holds(sum(one * other for one, other in pairwise(found)))
    check_same(weights, "widths", found, asked)
    return found


def audioset_classifier(weights: str) -> nn.Linear:
    """The published classifier: embedding ``(B, D)`` to the logits ``(B, 521)`` of YAMNet's classes.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `YAMNet`.
    """
    classifier: nn.Linear = classifier_of(_read(weights), "classifier", "YAMNet")
    return classifier
