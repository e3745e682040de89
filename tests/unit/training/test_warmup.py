"""The encoder is frozen and thawed as a function of the epoch."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import CED, Dasheng
from asd_plugins.fusion import Fusion
from asd_plugins.lora import LoRA
from asd_plugins.mobilenet import MobileNet
from torch import Tensor, nn

from asd import plugins
from asd.encoders import SpecAugment
from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.training.warmup import WarmUp

plugins.load_all()
CHECKPOINTED = [
    name for name, cls in plugins.known(Encoder).items() if "gradient_checkpointing" in signature(cls).parameters
]


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


@pytest.mark.parametrize("name", CHECKPOINTED)
def test_layers_are_computed_again_as_soon_as_they_thaw(name: str) -> None:
    encoder = plugins.resolve(name, Encoder).tiny()
    encoder.gradient_checkpointing = True
    (blocks,) = (one for place, one in encoder.named_modules() if place.rpartition(".")[2] == "blocks")
    calls = [0] * len(blocks)
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, number=number: calls.__setitem__(number, calls[number] + 1))
    seen = []
    for epoch in range(4):
        WarmUp(epochs=1, stage_epochs=1).apply(encoder, epoch)
        calls[:] = [0] * len(calls)
        features = encoder(torch.randn(2, encoder.sample_rate))
        if features.requires_grad:
            features.square().sum().backward()
        seen.append(list(calls))
    assert seen == [[1, 1], [1, 2], [2, 2], [2, 2]]


@pytest.mark.parametrize("wrap", [lambda parts: Fusion(parts), lambda parts: LoRA(Fusion(parts))])
def test_augmentation_within_encoders_is_on_from_the_first_thawed_stage(wrap: Callable[[Any], Encoder]) -> None:
    parts = [kind(layers=1, shape=kind.tiny().shape, augment=SpecAugment()) for kind in (BEATs, Dasheng)]
    encoder = wrap(parts)
    on = []
    for epoch in range(3):
        WarmUp(epochs=1, stage_epochs=1).apply(encoder, epoch)
        on.append([part.augment.training for part in parts])
    assert on == [[False, False], [True, True], [True, True]]


@pytest.mark.parametrize("stage_epochs", [0, 1])
@pytest.mark.parametrize("kind", [CED, Dasheng, MobileNet])
def test_statistics_move_where_their_weights_train_and_nowhere_else(kind: type[Encoder], stage_epochs: int) -> None:
    for encoder in (kind.tiny(), LoRA(kind.tiny(), rank=2), Fusion([LoRA(kind.tiny(), rank=2), kind.tiny()])):
        norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for epoch in range(6):
            WarmUp(epochs=1, stage_epochs=stage_epochs).apply(encoder, epoch)
            before = [norm.running_mean.clone() for norm in norms]
            encoder(torch.randn(2, encoder.sample_rate))
            moved = [not torch.equal(norm.running_mean, one) for norm, one in zip(norms, before, strict=True)]
            assert moved == [bool(norm.weight.requires_grad) for norm in norms]


def test_what_never_trains_does_not_train_within_another_encoder_either() -> None:
    encoder = Fusion([LoRA(BEATs.tiny(), rank=2), Dasheng.tiny()])
    WarmUp().apply(encoder, 0)
    first, second = encoder.encoders
    assert all((".lora_" in name) == p.requires_grad for name, p in first.named_parameters())
    assert all(p.requires_grad for p in second.parameters())


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
