"""Every augmentation that is found passes every check; one that must not is caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asd.encoders import Augmentation
from asd.plugins import known
from asd.testing import check_augmentation
from asd.testing.augmentation import CHECKS
from asd.testing.contract import Check, name_of, run_check

FOUND = {name: cls for name, cls in known(Augmentation).items() if cls.__module__.startswith(("asd.", "asd_plugins."))}
BY_NAME = {name_of(check): check for check in CHECKS}


def test_ours_are_found() -> None:
    assert "SpecAugment" in FOUND


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", FOUND)
def test_augmentations_hold_to_the_contract(name: str, check: Check[Augmentation]) -> None:
    run_check(check, FOUND[name]())


class _Sound(Augmentation):
    """A random gain; passes every check.

    Args:
        spread: Standard deviation, in nepers.
    """

    def __init__(self, spread: float = 0.5) -> None:
        super().__init__()
        self.spread = spread

    def gain(self, spectrogram: Tensor) -> Tensor:
        return self.spread * torch.randn(len(spectrogram), 1, 1, device=spectrogram.device, dtype=spectrogram.dtype)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return spectrogram + self.gain(spectrogram) if self.training else spectrogram


class _Always(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, spectrogram: Tensor) -> Tensor:
        return spectrogram + self.gain(spectrogram)


class _Cropping(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, spectrogram: Tensor) -> Tensor:
        return super().forward(spectrogram)[:, : 50 if self.training else None]


class _Widening(_Sound):
    __doc__ = _Sound.__doc__

    def gain(self, spectrogram: Tensor) -> Tensor:
        return super().gain(spectrogram).float()


class _Fixed(_Sound):
    __doc__ = _Sound.__doc__

    def gain(self, spectrogram: Tensor) -> Tensor:
        return torch.full_like(spectrogram[:, :1, :1], self.spread)


class _OwnSeed(_Sound):
    __doc__ = _Sound.__doc__

    def gain(self, spectrogram: Tensor) -> Tensor:
        fresh = torch.Generator()
        fresh.seed()
        return self.spread * torch.randn(len(spectrogram), 1, 1, generator=fresh).to(spectrogram)


class _Writing(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, spectrogram: Tensor) -> Tensor:
        return spectrogram.add_(self.gain(spectrogram)) if self.training else spectrogram


class _Dividing(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, spectrogram: Tensor) -> Tensor:
        return super().forward(spectrogram) / spectrogram.std() if self.training else spectrogram


class _Detached(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, spectrogram: Tensor) -> Tensor:
        return super().forward(spectrogram.detach()).requires_grad_()


class _OnTheProcessor(_Sound):
    __doc__ = _Sound.__doc__

    def gain(self, spectrogram: Tensor) -> Tensor:
        return torch.randn(len(spectrogram), 1, 1).to(spectrogram.dtype)


class _Counting(_Sound):
    __doc__ = _Sound.__doc__

    def __init__(self, spread: float = 0.5) -> None:
        super().__init__(spread)
        self.calls = nn.Buffer(torch.zeros(()))

    def gain(self, spectrogram: Tensor) -> Tensor:
        self.calls += 1
        return super().gain(spectrogram) * self.calls.to(spectrogram)


class _Opaque(_Sound):
    __doc__ = _Sound.__doc__

    def __init__(self, spread: Any = torch.tensor(0.5)) -> None:  # noqa: B008
        super().__init__(float(spread))


class _Undocumented(_Sound):
    """No word of the argument."""


def test_a_sound_augmentation_passes() -> None:
    check_augmentation(_Sound())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_Always(), "identity"),
        (_Cropping(), r"shapes: \(4, 60, 64\) becomes"),
        (_Widening(), "shapes: torch.bfloat16 becomes"),
        (_Fixed(), "random: every seed"),
        (_OwnSeed(), "random: the same seed"),
        (_Writing(), "input_unchanged"),
        (_Dividing(), "silence"),
        (_Detached(), "gradients"),
        (_OnTheProcessor(), "meta"),
        (_Counting(), "deepcopy"),
        (_Opaque(), "config: a Tensor cannot be described"),
        (_Undocumented(), "documented"),
    ],
)
def test_broken_augmentations_are_caught(broken: Augmentation, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_check(BY_NAME[message.partition(":")[0]], broken)
    with pytest.raises(AssertionError):
        check_augmentation(broken)
