"""The layers of MobileNet, and the front end of EfficientAT.

Howard et al., "Searching for MobileNetV3" (2019), table 1 (large); squeeze-and-excitation as EfficientAT has it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from asd_plugins.conv_layers import depthwise
from torch import Tensor, nn

from asd.encoders.constants import constant
from asd.encoders.mel import mel_filters
from asd.errors import UserError
from asd.utils.precision import full_precision

BANDS = 128


class Row(NamedTuple):
    """One inverted residual block at width 1."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    activation: type[nn.Module]
    stride: int


STEM = 16
ROWS = (
    Row(3, 16, 16, False, nn.ReLU, 1),
    Row(3, 64, 24, False, nn.ReLU, 2),
    Row(3, 72, 24, False, nn.ReLU, 1),
    Row(5, 72, 40, True, nn.ReLU, 2),
    Row(5, 120, 40, True, nn.ReLU, 1),
    Row(5, 120, 40, True, nn.ReLU, 1),
    Row(3, 240, 80, False, nn.Hardswish, 2),
    Row(3, 200, 80, False, nn.Hardswish, 1),
    Row(3, 184, 80, False, nn.Hardswish, 1),
    Row(3, 184, 80, False, nn.Hardswish, 1),
    Row(3, 480, 112, True, nn.Hardswish, 1),
    Row(3, 672, 112, True, nn.Hardswish, 1),
    Row(5, 672, 160, True, nn.Hardswish, 2),
    Row(5, 960, 160, True, nn.Hardswish, 1),
    Row(5, 960, 160, True, nn.Hardswish, 1),
)


def multiple_of_eight(channels: float) -> int:
    """Channels as hardware likes them, never less than nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def convolution(
    inputs: int, outputs: int, kernel: int, activation: type[nn.Module] | None, stride: int = 1, alone: bool = False
) -> nn.Sequential:
    """Convolution, of each channel alone or of all, batch normalisation and activation."""
    if alone:
        layer = depthwise(outputs, kernel, stride, kernel // 2)
    else:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    layers: list[nn.Module] = [layer, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


class _Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = multiple_of_eight(channels // 4)
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


class Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, row: Row, width: float) -> None:
        super().__init__()
        expanded = multiple_of_eight(row.expanded * width)
        outputs = multiple_of_eight(row.channels * width)
        self.residual = row.stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(convolution(inputs, expanded, 1, row.activation))
        layers.append(convolution(expanded, expanded, row.kernel, row.activation, row.stride, alone=True))
        if row.squeeze:
            layers.append(_Squeeze(expanded))
        layers.append(convolution(expanded, outputs, 1, None))
        self.block = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, M, F)`` to ``(B, C', M', F')``."""
        result: Tensor = self.block(maps)
        return result + maps if self.residual else result


class MobileNetMel(nn.Module):
    """The log-mel front end of EfficientAT, a batch at once, in float32 whatever the precision around it.

    Args:
        hop_samples: Samples between frames.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, hop_samples: int = 320) -> None:
        super().__init__()
        self.hop = hop_samples
        self.register_buffer("window", constant(torch.hann_window, 800, periodic=False), persistent=False)
        self.register_buffer("mel", mel_filters(BANDS, 1024, 32000, 0.0, 15000.0, "mel"), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 32 kHz to ``(B, F, 128)``, ``F = 1 + (T - 1) // hop``.

        Raises:
            UserError: The clips are too short for one window.
        """
        if waveform.shape[-1] < 514:
            raise UserError(f"MobileNet: clips of {waveform.shape[-1]} samples; it needs at least 514 at 32000 Hz")
        with full_precision(waveform):
            waveform = waveform.float()
            emphasised = waveform[:, 1:] - 0.97 * waveform[:, :-1]
            spectrum = torch.stft(emphasised, 1024, self.hop, 800, self.window, return_complex=True)
            power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
            return ((power.mT @ self.mel + 1e-5).log() + 4.5) / 5
