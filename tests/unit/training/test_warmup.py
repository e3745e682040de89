"""The encoder is frozen and thawed as a function of the epoch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.training.warmup import WarmUp


class Small(Encoder):
    """Three stages with batch normalisation.

    Args:
        augment: Augmentation.
    """

    sample_rate = 16000
    feature_dim = 4

    def __init__(self, augment: nn.Module | None = None) -> None:
        super().__init__(augment)
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(3))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return waveform[:, : waveform.shape[1] // 4 * 4].unflatten(1, (-1, 4))

    def encode(self, spectrogram: Tensor) -> Tensor:
        x = spectrogram.mean(1)
        for part in self.parts:
            x = part(x)
        return x[:, None, None]

    def stages(self) -> list[nn.Module]:
        return list(self.parts)


def trainable(encoder: Encoder) -> list[bool]:
    return [all(p.requires_grad for p in stage.parameters()) for stage in encoder.stages()]


def test_frozen_means_no_gradient_and_evaluation_mode() -> None:
    encoder = Small(nn.Dropout(0.5))
    changed = WarmUp(epochs=2).apply(encoder, 0)
    assert changed
    assert trainable(encoder) == [False] * 3
    assert not any(module.training for module in encoder.modules())
    before = encoder.parts[0][1].running_mean.clone()
    encoder(torch.randn(8, 64))
    assert torch.equal(before, encoder.parts[0][1].running_mean)


@pytest.mark.parametrize("stage_epochs", [0, 1])
def test_statistics_are_kept_after_the_thaw_where_asked(stage_epochs: int) -> None:
    encoder = Small(nn.Dropout(0.5))
    warmup = WarmUp(epochs=1, stage_epochs=stage_epochs, keep_statistics=True)
    for epoch in range(5):
        warmup.apply(encoder, epoch)
        before = [part[1].running_mean.clone() for part in encoder.parts]
        encoder(torch.randn(8, 64))
        assert all(torch.equal(part[1].running_mean, one) for part, one in zip(encoder.parts, before, strict=True))
    assert trainable(encoder) == [True] * 3
    assert encoder.augment.training
    WarmUp(epochs=1).apply(encoder, 4)
    encoder(torch.randn(8, 64))
    assert not torch.equal(encoder.parts[0][1].running_mean, before[0]), "without the option they move"


def test_thaws_whole_at_the_epoch_and_says_so_once() -> None:
    encoder, warmup = Small(), WarmUp(epochs=2)
    changes = [warmup.apply(encoder, epoch) for epoch in range(4)]
    assert changes == [True, False, True, False]
    assert trainable(encoder) == [True] * 3
    assert all(module.training for module in encoder.modules())


def test_stages_thaw_from_the_deepest() -> None:
    encoder, warmup = Small(), WarmUp(epochs=1, stage_epochs=2)
    states = []
    for epoch in range(6):
        warmup.apply(encoder, epoch)
        states.append(trainable(encoder))
    assert states == [
        [False, False, False],
        [False, False, True],
        [False, False, True],
        [False, True, True],
        [False, True, True],
        [True, True, True],
    ]


def test_state_follows_from_the_epoch_alone() -> None:
    walked, jumped = Small(), Small()
    warmup = WarmUp(epochs=2, stage_epochs=1)
    for epoch in range(4):
        warmup.apply(walked, epoch)
    warmup.apply(jumped, 3)
    assert trainable(walked) == trainable(jumped)
    assert [m.training for m in walked.modules()] == [m.training for m in jumped.modules()]


def test_minus_one_never_thaws() -> None:
    encoder = Small()
    WarmUp(epochs=-1).apply(encoder, 1000)
    assert trainable(encoder) == [False] * 3


@pytest.mark.parametrize("options", [{"epochs": -2}, {"stage_epochs": -1}])
def test_negative_numbers_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="give 0 or more"):
        WarmUp(**options)
