"""MobileNet: the mn family of EfficientAT, convolutional networks trained on AudioSet.

Schmid, Koutini, Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation" (2023),
arXiv:2211.04772; the blocks are those of MobileNetV3-large (Howard et al. 2019, table 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, WeightsCard
from asd.encoders.checkpoints import load_strict, read
from asd.encoders.weights import find
from asd.errors import UserError
from asd.precision import full_precision

_RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"
_CLASSES = 527
_BANDS = 128


class _Row(NamedTuple):
    """One inverted residual block at width 1."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    activation: type[nn.Module]
    stride: int


_STEM = 16
_ROWS = (
    _Row(3, 16, 16, False, nn.ReLU, 1),
    _Row(3, 64, 24, False, nn.ReLU, 2),
    _Row(3, 72, 24, False, nn.ReLU, 1),
    _Row(5, 72, 40, True, nn.ReLU, 2),
    _Row(5, 120, 40, True, nn.ReLU, 1),
    _Row(5, 120, 40, True, nn.ReLU, 1),
    _Row(3, 240, 80, False, nn.Hardswish, 2),
    _Row(3, 200, 80, False, nn.Hardswish, 1),
    _Row(3, 184, 80, False, nn.Hardswish, 1),
    _Row(3, 184, 80, False, nn.Hardswish, 1),
    _Row(3, 480, 112, True, nn.Hardswish, 1),
    _Row(3, 672, 112, True, nn.Hardswish, 1),
    _Row(5, 672, 160, True, nn.Hardswish, 2),
    _Row(5, 960, 160, True, nn.Hardswish, 1),
    _Row(5, 960, 160, True, nn.Hardswish, 1),
)


def _multiple_of_eight(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _convolution(
    inputs: int, outputs: int, kernel: int, activation: type[nn.Module] | None, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


class _Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = _multiple_of_eight(channels // 4)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, M', F')`` to the same shape."""
        weight = torch.sigmoid(self.fc2(F.relu(self.fc1(maps.mean((2, 3))))))
        return maps * weight[:, :, None, None]


class _Squeeze(nn.Module):
    """Weights the channels by what the whole map holds (Hu et al. 2018); the names are those of the published files."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.Sequential(_Gate(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, M', F')`` to the same shape."""
        weighted: Tensor = self.conc_se_layers(maps)
        return weighted


class _Block(nn.Module):
    def __init__(self, inputs: int, row: _Row, width: float) -> None:
        super().__init__()
        expanded = _multiple_of_eight(row.expanded * width)
        outputs = _multiple_of_eight(row.channels * width)
        self.residual = row.stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_convolution(inputs, expanded, 1, row.activation))
        layers.append(_convolution(expanded, expanded, row.kernel, row.activation, row.stride, groups=expanded))
        if row.squeeze:
            layers.append(_Squeeze(expanded))
        layers.append(_convolution(expanded, outputs, 1, None))
        self.block = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, M, F)`` to ``(B, C', M', F')``."""
        result: Tensor = self.block(maps)
        return result + maps if self.residual else result


class MobileNetMel(nn.Module):
    """The log-mel front end of EfficientAT, a batch at once, in float32 whatever the precision around it."""

    window: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(800, periodic=False), persistent=False)
        self.register_buffer("mel", _kaldi_mel(_BANDS, 1024, 32000, 0.0, 15000.0), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 32 kHz to ``(B, F, 128)``, ``F = 1 + (T - 1) // 320``.

        Raises:
            UserError: The clips are too short for one window.
        """
        if waveform.shape[-1] < 514:
            raise UserError(f"MobileNet: clips of {waveform.shape[-1]} samples; it needs at least 514 at 32000 Hz")
        with full_precision(waveform):
            waveform = waveform.float()
            emphasised = waveform[:, 1:] - 0.97 * waveform[:, :-1]
            spectrum = torch.stft(emphasised, 1024, 320, 800, self.window, return_complex=True)
            power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
            return ((power.mT @ self.mel + 1e-5).log() + 4.5) / 5


class MobileNet(Encoder):
    """EfficientAT's MobileNets (mn) for AudioSet tagging, 0.98 M parameters at width 0.4.

    As it is, the features are the last map averaged over its frequency rows, one frame every 320 ms, so that their mean
    over frames is the authors' embedding. Earlier blocks, with their rows kept, know more of how a machine sounds and
    less of what AudioSet calls it.

    Args:
        width: Factor on all channel counts: 0.4 for mn04, 1.0 for mn10, as in the names of the published files.
        layers: Only 1: earlier maps have other widths and frame rates, which `blocks` chooses from.
        blocks: Inverted residual blocks that are run, 1 to 15; the convolution behind them only after all 15.
        rows: Frequency rows of the last map: averaged, or kept side by side as features.
        checkpoint: A published file, or the name of one that was fetched (``mn04_as``); ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 32000
    weights: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "mn04_as",
            "mn04_as_mAP_432.pt",
            "MIT",
            "arXiv:2211.04772",
            f"{_RELEASE}mn04_as_mAP_432.pt",
            size=4066513,
            sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        ),
        *(
            WeightsCard(
                f"{name}_as",
                f"{name}_as_mAP_{mean}.pt",
                "MIT",
                "arXiv:2211.04772",
                f"{_RELEASE}{name}_as_mAP_{mean}.pt",
            )
            for name, mean in (("mn05", 443), ("mn10", 471), ("mn20", 478), ("mn30", 482), ("mn40", 484))
        ),
    )

    def __init__(
        self,
        width: float = 0.4,
        layers: int = 1,
        blocks: int = len(_ROWS),
        rows: Literal["averaged", "kept"] = "averaged",
        checkpoint: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if width <= 0:
            raise UserError(f"MobileNet: width is {width}; give 0.4, 0.5, 1, 2, 3 or 4 for the published weights")
        if layers != 1:
            raise UserError(
                f"MobileNet: layers is {layers}; it gives one layer, so set layers to 1 and choose it by blocks"
            )
        if not 1 <= blocks <= len(_ROWS):
            raise UserError(f"MobileNet: blocks is {blocks}; it has 1 to {len(_ROWS)}")
        channels = _multiple_of_eight(_STEM * width)
        features: list[nn.Module] = [_convolution(1, channels, 3, nn.Hardswish, stride=2)]
        for row in _ROWS:
            features.append(_Block(channels, row, width))
            channels = _multiple_of_eight(row.channels * width)
        features.append(_convolution(channels, 6 * channels, 1, nn.Hardswish))
        self.rows = rows
        self.front_end = MobileNetMel()
        self.features = nn.Sequential(*features)
        self.apply(_initialise)
        if checkpoint is not None:
            self._load(checkpoint)
        if blocks < len(_ROWS):
            self.features = nn.Sequential(*self.stages()[: 1 + blocks])
            channels = _multiple_of_eight(_ROWS[blocks - 1].channels * width)
        else:
            channels *= 6
        strides = math.prod(row.stride for row in _ROWS[:blocks])
        self.feature_dim = channels * (_BANDS // (2 * strides) if rows == "kept" else 1)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(width=0.1)

    def _load(self, checkpoint: str) -> None:
        path = find(checkpoint)
        state = {key: value for key, value in read(path).items() if not key.startswith("classifier.")}
        features = nn.ModuleDict({"features": self.features})
        load_strict(features, state, path)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 32 kHz to ``(B, F, 128)``, normalised log-mel."""
        mel: Tensor = self.front_end(waveform)
        return mel

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, 1, ceil(F / stride), D)``, where the stride of all 15 blocks is 32."""
        maps = self.features[0](spectrogram.mT[:, None])
        # Channels last make the depthwise convolutions half as dear again on a CPU.
        maps = self.features[1:](maps.contiguous(memory_format=torch.channels_last))
        columns: Tensor = maps.flatten(1, 2) if self.rows == "kept" else maps.mean(2)
        return columns.mT[:, None]

    def stages(self) -> list[nn.Module]:
        """First convolution, the blocks, and after all fifteen the last convolution."""
        return list(self.features)


def audioset_classifier(checkpoint: str) -> nn.Sequential:
    """The published classifier: embedding ``(B, D)`` to the logits ``(B, 527)`` of AudioSet's classes.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        checkpoint: As for `MobileNet`.
    """
    path = find(checkpoint)
    state = {key: value for key, value in read(path).items() if key.startswith("classifier.")}
    if "classifier.2.weight" not in state:
        raise UserError(f"{path}: no key classifier.2.weight; the file holds no AudioSet classifier of EfficientAT")
    hidden, width = state["classifier.2.weight"].shape
    layers = [
        nn.Identity(),
        nn.Identity(),
        nn.Linear(width, hidden),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(hidden, _CLASSES),
    ]
    classifier = nn.Sequential(*layers)
    load_strict(nn.ModuleDict({"classifier": classifier}), state, path)
    return classifier


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        # The authors' fan_out counts all groups of a depthwise convolution: signals vanish until statistics settle.
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _kaldi_mel(bands: int, fft: int, sample_rate: int, low: float, high: float) -> Tensor:
    """``(fft // 2 + 1, bands)`` triangles, linear in mel, as Kaldi has them: the Nyquist bin belongs to none."""
    lowest, highest = (1127 * math.log1p(hertz / 700) for hertz in (low, high))
    edges = lowest + (highest - lowest) / (bands + 1) * torch.arange(bands + 2, dtype=torch.float64)
    mel = 1127 * torch.log1p(torch.arange(fft // 2, dtype=torch.float64) * (sample_rate / fft / 700))
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    return F.pad(torch.minimum(rising, falling).clamp_min(0), (0, 0, 0, 1)).float()
