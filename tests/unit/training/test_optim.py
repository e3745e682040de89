"""Rates by stage, schedules, and what is refused."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from asd_plugins.beats import BEATs
from torch import nn

from asd.errors import Notice, UserError
from asd.training.optim import OptimizerOptions, build_optimizer, build_schedule, parameter_groups
from asd.training.warmup import WarmUp


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


def rates(options: OptimizerOptions, warmup: WarmUp, steps: int, epoch_steps: int) -> list[dict[object, float]]:
    """Learning rate by depth of the stage, ``None`` for adapter and head, in each step of a run."""
    encoder, head = BEATs.tiny(), nn.Linear(16, 3)
    optimizer = build_optimizer(parameter_groups(encoder, [head], options), options)
    schedule = build_schedule(optimizer, options, steps, epoch_steps, warmup.thaw_epoch)
    course = []
    for _ in range(steps):
        course.append({group["depth"]: group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        schedule.step()
    return course


@pytest.mark.parametrize("stage_epochs", [0, 2])
def test_each_stage_rises_from_its_own_thaw(stage_epochs: int) -> None:
    options = OptimizerOptions(lr=1.0, encoder_lr=0.5, layer_decay=0.1, encoder_warmup_epochs=1.5)
    stages = len(BEATs.tiny().stages())
    assert stages > 2
    for step, found in enumerate(rates(options, WarmUp(2, stage_epochs), 80, 4)):
        assert found[None] == 1.0
        for depth in range(stages):
            since = step - 4 * (2 + depth * stage_epochs)
            factor = 0 if since < 0 else min(1, (since + 1) / 6)
            assert found[depth] == pytest.approx(0.5 * 0.1**depth * factor)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rise_after_the_thaw_multiplies_the_course_of_the_run(schedule: str) -> None:
    course = {"lr": 1.0, "schedule": schedule, "warmup": 0.2}
    plain = rates(OptimizerOptions(**course), WarmUp(3), 50, 5)
    risen = rates(OptimizerOptions(**course, encoder_warmup_epochs=2), WarmUp(3), 50, 5)
    for step, (one, two) in enumerate(zip(plain, risen, strict=True)):
        assert two[None] == one[None]
        assert two[0] == pytest.approx(one[0] * min(1, max(0, step - 14) / 10))


def test_an_encoder_that_never_thaws_has_no_rate_and_one_that_is_not_frozen_rises_at_once() -> None:
    options = OptimizerOptions(lr=1.0, encoder_warmup_epochs=1)
    assert all(found[0] == 0 and found[None] == 1 for found in rates(options, WarmUp(-1), 8, 4))
    assert [found[0] for found in rates(options, WarmUp(), 5, 4)] == [0.25, 0.5, 0.75, 1, 1]


def test_a_rise_that_the_run_does_not_live_to_see_is_told() -> None:
    options = OptimizerOptions(encoder_warmup_epochs=3)
    with pytest.warns(Notice, match=r"thaws at step 8 and rises over 12 \(.*encoder_warmup_epochs\), but.* has 19"):
        rates(options, WarmUp(2), 19, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        rates(options, WarmUp(2), 20, 4)


def test_a_course_over_a_run_without_end_is_refused() -> None:
    optimizer = build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], OptimizerOptions())
    for options in (OptimizerOptions(schedule="cosine"), OptimizerOptions(warmup=0.1)):
        with pytest.raises(UserError, match=r"no end; give trainer\.max_epochs or trainer\.max_steps"):
            build_schedule(optimizer, options, math.inf)
    assert build_schedule(optimizer, OptimizerOptions(encoder_warmup_epochs=1), math.inf, 5) is not None


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
        ({"encoder_warmup_epochs": -1.0}, "encoder_warmup_epochs is -1.0; give epochs"),
        ({"encoder_warmup_epochs": math.nan}, "encoder_warmup_epochs is nan"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], OptimizerOptions(**options))
