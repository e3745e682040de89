"""Rates by stage, schedules, and what is refused."""

from __future__ import annotations

import pytest
import torch
from asd_plugins.beats import BEATs
from torch import nn

from asd.errors import UserError
from asd.training.optim import OptimizerOptions, build_optimizer, build_schedule, parameter_groups


def test_every_parameter_is_in_one_group_and_deeper_stages_learn_faster() -> None:
    encoder, head = BEATs.tiny(), nn.Linear(16, 3)
    options = OptimizerOptions("AdamW", lr=1e-3, encoder_lr=1e-4, layer_decay=0.5, weight_decay=0.1)
    groups = parameter_groups(encoder, [head], options)
    grouped = [p for group in groups for p in group["params"]]
    own = [*encoder.parameters(), *head.parameters()]
    assert len(grouped) == len(own)
    assert {id(p) for p in grouped} == {id(p) for p in own}
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    for depth, stage in enumerate(reversed(encoder.stages())):
        assert {rate[id(p)] for p in stage.parameters()} == {1e-4 * 0.5**depth}
    assert {rate[id(p)] for p in head.parameters()} == {1e-3}


def test_biases_and_normalisations_do_not_decay() -> None:
    groups = parameter_groups(BEATs.tiny(), [], OptimizerOptions(weight_decay=0.1))
    for group in groups:
        assert group["weight_decay"] == (0.1 if group["params"][0].ndim > 1 else 0.0)
        assert len({p.ndim > 1 for p in group["params"]}) == 1


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules_rise_over_the_warm_up_and_fall_to_zero(schedule: str) -> None:
    options = OptimizerOptions(lr=1.0, schedule=schedule, warmup=0.2)
    optimizer = build_optimizer([{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}], options)
    course = build_schedule(optimizer, options, 50)
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        course.step()
    assert rates[0] == 0
    assert rates[10] == pytest.approx(1.0)
    assert rates[5] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(1.0) if schedule == "constant" else rates[-1] < 0.05


def test_a_constant_rate_needs_no_schedule() -> None:
    options = OptimizerOptions()
    optimizer = build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], options)
    assert build_schedule(optimizer, options, 50) is None


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_optimizers_by_name(name: str) -> None:
    assert type(build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], OptimizerOptions(name))).__name__ == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"optimizer\.lr is -1"),
        ({"encoder_lr": 0.0}, r"encoder_lr is 0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"warmup": 1.0}, "warmup is 1.0"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], OptimizerOptions(**options))
