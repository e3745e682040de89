"""Rates by stage, schedules, and what is refused."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.lora import LoRA
from torch import Tensor, nn

from asd.encoders import Adapter, Encoder
from asd.errors import Notice, UserError
from asd.heads import AdaCos, AdaProj, ArcFace, CrossEntropy
from asd.plugins import known
from asd.training.optim import OptimizerOptions, build_optimizer, build_schedule, parameter_groups
from asd.training.warmup import WarmUp
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer


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


FREE = re.compile(
    r"pos_embed|position_embeddings|_token|grep_a|weight_g|weight_v|relative_bias|rel_attn_embed|gru_rel_pos_const"
    r"|parametrizations|centres|directions"
)
"""Of two axes and more, but no weight matrix: positions, tokens, gains, directions whose length is apart, centres."""


def decay_of(encoder: Encoder, *others: nn.Module) -> dict[str, tuple[nn.Parameter, float]]:
    """Each parameter and its decay, by name."""
    groups = parameter_groups(encoder, list(others), OptimizerOptions(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    named = nn.ModuleList([encoder, *others]).named_parameters()
    return {name: (p, decay[id(p)]) for name, p in named}


OURS = {name: cls for name, cls in known(Encoder).items() if cls.__module__.startswith("asd_plugins.")}


@pytest.mark.parametrize("name", OURS)
def test_weight_matrices_decay_and_nothing_else(name: str) -> None:
    cls = OURS[name]
    found = decay_of(cls.tiny(), Adapter(hidden=[8], embedding_dim=4, pooling="attentive_statistics").build(2, 6))
    for key, (parameter, decay) in found.items():
        matrix = parameter.ndim > 1 and not FREE.search(key)
        assert decay == (0.1 if matrix else 0.0), f"{key} {tuple(parameter.shape)}"
        if decay:
            assert len(parameter) > 1 and parameter[0].numel() > 1, f"{key} is as thin as a vector"
    assert any(decay for _, decay in found.values())


def test_layers_of_a_head_decay_and_centres_do_not() -> None:
    heads = [CrossEntropy(), AdaCos(), ArcFace(), AdaProj(2, trainable=True)]
    found = decay_of(BEATs.tiny(), *(head.build(8, 3) for head in heads))
    assert {key: decay for key, (_, decay) in found.items() if not key.startswith("0.")} == {
        "1.linear.weight": 0.1, "1.linear.bias": 0.0, "2.centres": 0.0, "3.centres": 0.0, "4.directions": 0.0,
    }  # fmt: skip


class Free(BEATs):
    """With a matrix that belongs to no layer, inside or not of another encoder."""

    def decayed(self) -> list[nn.Parameter]:
        return [self.position.weight_v]


def test_an_encoder_names_matrices_of_its_own_also_inside_another() -> None:
    for encoder in (Free.tiny(), LoRA(Free.tiny(), rank=2)):
        (decay,) = {decay for key, (_, decay) in decay_of(encoder).items() if key.endswith("weight_v")}
        assert decay == 0.1


def test_a_run_of_an_earlier_version_goes_on_with_its_groups() -> None:
    encoder, options = BEATs.tiny(), OptimizerOptions("AdamW", weight_decay=0.1)
    now = parameter_groups(encoder, [], options)
    sizes = [len(group["params"]) for group in now]
    assert parameter_groups(encoder, [], options, sizes) == now
    earlier = [
        [p for p in group if (p.ndim > 1) == wide]
        for group in ([*stage.parameters()] for stage in reversed(encoder.stages()))
        for wide in (True, False)
    ]
    assert [len(group) for group in earlier] != sizes
    again = parameter_groups(encoder, [], options, [len(group) for group in earlier])
    assert [[*map(id, group["params"])] for group in again] == [[*map(id, group)] for group in earlier]
    assert [group["weight_decay"] for group in again] == [0.1, 0.0] * len(encoder.stages())
    state = torch.optim.AdamW([{"params": group} for group in earlier]).state_dict()
    build_optimizer(again, options).load_state_dict(state)


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


def test_a_rise_may_be_told_in_steps_whatever_the_run() -> None:
    options = OptimizerOptions(lr=1.0, warmup=4)
    for steps in (50, math.inf):
        optimizer = build_optimizer([{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}], options)
        course = build_schedule(optimizer, options, steps)
        assert course is not None
        found = []
        for _ in range(6):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            course.step()
        assert found == [0, 0.25, 0.5, 0.75, 1, 1]
    with pytest.warns(Notice, match="warmup is 50 steps of 50"):
        build_schedule(optimizer, OptimizerOptions(warmup=50), 50)


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
        ({"warmup": 1.5}, "warmup is 1.5; give a number of steps"),
        ({"warmup": math.inf}, "warmup is inf"),
        ({"encoder_warmup_epochs": -1.0}, "encoder_warmup_epochs is -1.0; give epochs"),
        ({"encoder_warmup_epochs": math.nan}, "encoder_warmup_epochs is nan"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], OptimizerOptions(**options))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_a_step_is_one_kernel_and_the_same_step(name: str) -> None:
    def stepped(fused: bool) -> tuple[bool, torch.Tensor]:
        torch.manual_seed(0)
        layer = nn.Linear(7, 5)
        groups = [{"params": list(layer.parameters()), "lr": 0.1, "weight_decay": 0.01, "name": "all", "depth": None}]
        optimizer = build_optimizer(groups, OptimizerOptions(name))  # type: ignore[arg-type]
        for group in optimizer.param_groups:
            group["fused"] &= fused
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(2, 7)).square().sum().backward()
            optimizer.step()
        return bool(optimizer.param_groups[0]["fused"]), layer.weight.detach()

    (one, weights), (other, expected) = stepped(True), stepped(False)
    assert (one, other) == (True, False)
    torch.testing.assert_close(weights, expected)


def test_a_device_without_that_kernel_takes_the_usual_step() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(2, device="meta"))], "lr": 0.1}]
    assert not build_optimizer(groups, OptimizerOptions()).param_groups[0]["fused"]


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD"])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_gradients_are_clipped_in_every_precision(
    small_run: SmallRun, tmp_path: Path, precision: Any, name: Any
) -> None:
    """At a rate of one, what the first step of SGD moves is as long as gradients are clipped to."""
    before: dict[str, Tensor] = {}

    def keep(trainer: pl.Trainer, module: pl.LightningModule) -> None:
        before.update({key: value.detach().clone() for key, value in module.named_parameters()})

    model = small_model(optimizer=OptimizerOptions(name, lr=1.0, encoder_lr=1.0, schedule="constant", weight_decay=0.0))
    trainer = small_trainer(
        tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0, precision=precision, gradient_clip_val=1e-3,
        callbacks=[WarmUp(0), pl.callbacks.LambdaCallback(on_train_start=keep)],
    )  # fmt: skip
    trainer.fit(model, datamodule=small_data(small_run.data.root))
    moved = torch.cat([(value.detach() - before[key]).flatten() for key, value in model.named_parameters()]).norm()
    assert moved == pytest.approx(1e-3, rel=0.01) if name == "SGD" else moved > 0, moved
