"""The average of the weights: of the last part of a run, however short it is."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from asd.errors import UserError
from asd.training.averaging import AveragedWeights


class Two(nn.Module):
    """An encoder of one weight, and an adapter without any."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, 1, bias=False)
        self.adapter = nn.Identity()

    def set(self, value: float) -> None:
        nn.init.constant_(self.encoder.weight, value)


def averaged(callback: AveragedWeights, model: Any, values: list[float], start: int = 0) -> dict[str, Any]:
    """What a checkpoint holds after those weights, one a step; each step is of two batches."""
    trainer: Any = SimpleNamespace(global_step=0, training=True)
    callback.on_fit_start(trainer, model)
    trainer.global_step = start  # what a checkpoint restores comes later
    callback.on_train_start(trainer, model)
    for value in values:
        callback.on_train_batch_end(trainer, model)
        model.set(value)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, model)
    return saved(callback, model, trainer.global_step)


def saved(callback: AveragedWeights, model: Any, step: int) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": dict(model.state_dict()), "global_step": step}
    callback.on_save_checkpoint(None, model, checkpoint)  # type: ignore[arg-type]
    return copy.deepcopy(checkpoint)


def of(checkpoint: dict[str, Any]) -> float:
    value: float = checkpoint["state_dict"]["encoder.weight"].item()
    return value


def by_hand(values: list[float], decay: float) -> float:
    average = values[0]
    for step, value in enumerate(values[1:], 1):
        part = min(decay, (1 + step) / (10 + step))
        average = part * average + (1 - part) * value
    return average


@pytest.mark.parametrize("decay", [0.999, 0.5])
def test_a_short_run_forgets_its_start(decay: float) -> None:
    model = Two()
    model.set(100.0)
    values = [float(step) for step in range(50)]
    average = of(averaged(AveragedWeights(decay), model, values))
    assert average == pytest.approx(by_hand(values, decay), rel=1e-5)
    assert 40 < average < 49


def test_the_count_of_steps_goes_on_with_a_resumed_run() -> None:
    values = [float(step**2) for step in range(30)]
    expected = by_hand(values, 0.9)
    for kept in (True, False):  # checkpoints of earlier versions have no count
        first = averaged(AveragedWeights(0.9), Two(), values[:10])
        if not kept:
            del first["averaged_steps"]
        model, callback = Two(), AveragedWeights(0.9)
        callback.on_load_checkpoint(SimpleNamespace(training=True), model, first)  # type: ignore[arg-type]
        assert model.encoder.weight.item() == values[9]
        last = averaged(callback, model, values[10:], start=10)
        assert of(last) == pytest.approx(expected, rel=1e-5)
        assert last["averaged_steps"] == 30


def test_a_checkpoint_of_a_failed_validation_holds_the_average_as_any_other() -> None:
    model, callback = Two(), AveragedWeights(0.9)
    usual = averaged(callback, model, [1.0, 2.0, 3.0])
    callback.on_validation_start(None, model)  # type: ignore[arg-type]
    failed = saved(callback, model, 3)
    for part in ("state_dict", "averaged_weights"):
        assert torch.equal(failed[part]["encoder.weight"], usual[part]["encoder.weight"])


def test_divided_weights_are_refused() -> None:
    divided: Any = SimpleNamespace(device_mesh=object())
    with pytest.raises(UserError, match=r"divided among processes are not averaged; set trainer\.callbacks to null"):
        AveragedWeights().on_fit_start(SimpleNamespace(), divided)  # type: ignore[arg-type]
