"""Augmentation of spectrograms and waveforms; every module is the identity in evaluation mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from asd.described import Described
from asd.errors import UserError

_SILENCE = 1e-8
"""Root mean square below which there is nothing to bring to a level: -160 dB."""


class Augmentation(Described, nn.Module, ABC):
    """What runs between the spectrogram and the layers of an encoder while it trains; the identity in evaluation.

    Random numbers come from PyTorch's own generator, on the device of the spectrogram.

    Attributes:
        expected_failures: Name of a check of `asd.testing` to the reason why this augmentation cannot pass it.
    """

    expected_failures: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to the same shape and type, a tensor of its own where anything is changed."""


class SpecAugment(Augmentation):
    """Hides random stretches of time and of frequency, each clip's own (Park et al. 2019, arXiv 1904.08779).

    Args:
        time_masks: Number of stretches of time.
        time_width: Longest stretch, as a part of the frames.
        frequency_masks: Number of stretches of frequency.
        frequency_width: Widest stretch, as a part of the bands.
        probability: Part of the clips that are masked.
    """

    def __init__(
        self,
        time_masks: int = 2,
        time_width: float = 0.1,
        frequency_masks: int = 2,
        frequency_width: float = 0.1,
        probability: float = 1.0,
    ) -> None:
        super().__init__()
        for name, part in (
            ("time_width", time_width),
            ("frequency_width", frequency_width),
            ("probability", probability),
        ):
            if not 0 <= part <= 1:
                raise UserError(f"SpecAugment: {name} is {part}; give a part in [0, 1]")
        self.time_masks = time_masks
        self.time_width = time_width
        self.frequency_masks = frequency_masks
        self.frequency_width = frequency_width
        self.probability = probability

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to the same shape, masked with each clip's mean."""
        if not self.training:
            return spectrogram
        clips, frames, bands = spectrogram.shape
        time = _stretches(clips, frames, self.time_masks, self.time_width, spectrogram.device)
        frequency = _stretches(clips, bands, self.frequency_masks, self.frequency_width, spectrogram.device)
        chosen = torch.rand(clips, 1, 1, device=spectrogram.device) < self.probability
        hidden = (time[:, :, None] | frequency[:, None, :]) & chosen
        return torch.where(hidden, spectrogram.mean((1, 2), keepdim=True), spectrogram)


def _stretches(clips: int, length: int, count: int, widest: float, device: torch.device) -> Tensor:
    """``(B, length)`` bool: `count` random stretches of up to `widest` of the length."""
    place = torch.arange(length, device=device)
    width = torch.rand(clips, count, 1, device=device) * widest * length
    start = torch.rand(clips, count, 1, device=device) * (length - width)
    return ((place >= start) & (place < start + width)).any(1)


class Mixup(Described, nn.Module):
    """Mixes each waveform and its label with those of another clip of the batch (Zhang et al. 2018, arXiv 1710.09412).

    With ``s`` the share of the first, two clips ``a`` and ``b`` and their labels become ``s a + (1 - s) b``. If their
    levels differ, that is another mixture by ear than by label: 20 dB apart, half of each, the louder has 99 % of the
    energy. By energy, the clips are brought to one level first, and their shares of the energy are those of the label:
    ``level * unit(sqrt(s) unit(a) + sqrt(1 - s) unit(b))``, where ``unit`` divides by the root mean square and
    ``level`` is that of ``s`` times the energy of ``a`` and ``1 - s`` times that of ``b``. Silence adds nothing.

    Args:
        probability: Part of the clips that are mixed.
        alpha: Both parameters of the beta distribution of the share; 1: uniform.
        by_energy: Mix energies in the shares of the labels, instead of amplitudes as they are.
    """

    def __init__(self, probability: float = 0.5, alpha: float = 1.0, by_energy: bool = False) -> None:
        super().__init__()
        if not 0 <= probability <= 1 or alpha <= 0:
            raise UserError(f"Mixup: probability is {probability} and alpha {alpha}; give [0, 1] and more than 0")
        self.probability = probability
        self.alpha = alpha
        self.by_energy = by_energy

    def forward(self, waveform: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, T)`` and soft labels ``(B, C)`` to the same shapes, mixed."""
        if not self.training or self.probability == 0:
            return waveform, targets
        clips = len(waveform)
        # Drawn on the CPU. To check the two numbers, or wait for the copy, would be to wait for all that goes on.
        drawn = torch.distributions.Beta(self.alpha, self.alpha, validate_args=False).sample((clips, 1))
        share = drawn.to(waveform, non_blocking=True)
        mixed = torch.rand(clips, 1, device=waveform.device) < self.probability
        share = torch.where(mixed, share, torch.ones_like(share))
        partner = torch.randperm(clips, device=waveform.device)
        mix = _mixed_energies if self.by_energy else _mixed
        return mix(waveform, waveform[partner], share), _mixed(targets, targets[partner], share)


def _mixed(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return share * first + (1 - share) * second


def _mixed_energies(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    level = _mixed(_rms(first).square(), _rms(second).square(), share).sqrt()
    mixture = share.sqrt() * _unit(first) + (1 - share).sqrt() * _unit(second)
    # At one level again: the sum of a clip and itself, or one like it, is louder than that of strangers.
    return torch.where(share < 1, level * _unit(mixture), first)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean(1, keepdim=True).sqrt()


def _unit(waveform: Tensor) -> Tensor:
    return waveform / _rms(waveform).clamp_min(_SILENCE)
