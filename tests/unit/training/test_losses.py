"""A loss that is not finite ends the run, whichever step is the first to ask."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor

from asd.errors import UserError
from asd.training.losses import Losses


class _Elsewhere:
    """What is asked of a loss on a device that the host should not wait for."""

    is_cpu = is_cuda = False

    def __init__(self, value: float) -> None:
        self.value, self.asked = value, 0

    def detach(self) -> _Elsewhere:
        return self

    def item(self) -> float:
        self.asked += 1
        return self.value


def step(losses: Losses, loss: Tensor | _Elsewhere, number: int) -> None:
    given = cast(Tensor, loss)
    assert losses.checked(lambda: given, 8, f"epoch 0, batch {number}") is given


def test_on_the_cpu_the_step_itself_ends() -> None:
    losses = Losses()
    step(losses, torch.tensor(1.5), 0)
    with pytest.raises(UserError, match="the loss is nan in epoch 0, batch 1; lower"):
        step(losses, torch.tensor(math.nan), 1)
    losses.settle()


def test_elsewhere_no_step_waits_for_its_own_loss_and_the_next_one_ends() -> None:
    losses, fine, bad = Losses(), _Elsewhere(1.5), _Elsewhere(math.inf)
    step(losses, fine, 0)
    assert fine.asked == 0
    step(losses, bad, 1)
    assert (fine.asked, bad.asked) == (1, 0)
    with pytest.raises(UserError, match="the loss is inf in epoch 0, batch 1; lower"):
        step(losses, _Elsewhere(1.5), 2)


def test_nothing_is_kept_of_a_last_step_that_went_wrong() -> None:
    losses = Losses()
    step(losses, _Elsewhere(math.nan), 9)
    with pytest.raises(UserError, match="the loss is nan in epoch 0, batch 9; lower"):
        losses.settle()
    losses.settle()
