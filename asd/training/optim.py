"""Optimizer and learning-rate schedule from plain options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.utils.log import notice

_FUSED = ("cuda", "cpu")
"""Devices with kernels of whole steps."""


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights are updated.

    Attributes:
        name: Optimizer of `torch.optim`.
        lr: Learning rate of adapter and head.
        encoder_lr: Learning rate of the encoder's deepest stage; ``None``: `lr`.
        layer_decay: Factor on the learning rate from each stage of the encoder to the one below it.
        weight_decay: Decay of weight matrices, which are those of linear, convolutional, attention and recurrent layers
            and what the encoder names in `Encoder.decayed`. Biases, normalisations, gains, positions, tokens and the
            centres of classes have none.
        schedule: Course of the rate over the run, by step: constant, or falling to zero linearly or as a cosine.
        warmup: Steps over which the rate rises linearly from zero; below 1, a part of the run's steps.
        encoder_warmup_epochs: Epochs, also a part of one, over which the rate of each stage of the encoder rises
            linearly once the stage has thawed, as a factor on the rest; 0: thawed stages train at the full rate.
    """

    name: Literal["Adam", "AdamW", "SGD"] = "Adam"
    lr: float = 1e-3
    encoder_lr: float | None = None
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = 0.0
    encoder_warmup_epochs: float = 0.0


DEFAULT_OPTIMIZER = OptimizerOptions()


_MATRICES = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.RNNBase)
"""Layers whose parameters of two axes and more are weight matrices."""


def parameter_groups(
    encoder: Encoder, others: list[nn.Module], options: OptimizerOptions, sizes: list[int] | None = None
) -> list[dict[str, Any]]:
    """Groups for the optimizer: each stage of the encoder at its own rate, then everything else.

    Frozen parameters are included, so that nothing need be added when they thaw. ``depth`` of a group is that of its
    stage, 0 for the deepest; ``None``: no part of the encoder.

    Args:
        encoder: The encoder.
        others: What else is trained.
        options: Rates and decay.
        sizes: Parameters in each group of the run that goes on, if one does. Where it was begun by a version that
            decayed everything but vectors, its groups are made again.
    """
    parts = [encoder, *others]
    modules = [module for part in parts for module in part.modules()]
    matrices = [p for module in modules if isinstance(module, _MATRICES) for p in module.parameters(recurse=False)]
    named = [p for module in modules if isinstance(module, Encoder) for p in module.decayed()]
    groups = _groups(encoder, others, options, {id(p) for p in (*matrices, *named) if p.ndim > 1})
    if sizes is not None and [len(group["params"]) for group in groups] != sizes:
        groups = _groups(encoder, others, options, {id(p) for part in parts for p in part.parameters() if p.ndim > 1})
    return groups


def _groups(
    encoder: Encoder, others: list[nn.Module], options: OptimizerOptions, decayed: set[int]
) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()

    def add(module: nn.Module, lr: float, name: str, depth: int | None) -> None:
        fresh = [p for p in module.parameters() if id(p) not in seen]
        seen.update(map(id, fresh))
        for decay, chosen in (
            (options.weight_decay, [p for p in fresh if id(p) in decayed]),
            (0.0, [p for p in fresh if id(p) not in decayed]),
        ):
            if chosen:
                whole = f"{name}/{len(groups)}"
                groups.append({"params": chosen, "lr": lr, "weight_decay": decay, "name": whole, "depth": depth})

    lr = options.lr if options.encoder_lr is None else options.encoder_lr
    stages = encoder.stages()
    for depth, stage in enumerate(reversed(stages)):
        add(stage, lr * options.layer_decay**depth, f"encoder stage -{depth + 1}", depth)
    # What is in no stage thaws with the last.
    add(encoder, lr, "encoder", len(stages) - 1)
    for module in others:
        add(module, options.lr, type(module).__name__, None)
    return groups


def build_optimizer(groups: list[dict[str, Any]], options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer over `groups`, which does all of a step in one kernel where the device of the weights has one.

    Args:
        groups: Of `parameter_groups`.
        options: How weights are updated.

    Raises:
        UserError: A rate that is not positive, or a decay or warm-up outside its range.
    """
    for key in ("lr", "encoder_lr"):
        value = getattr(options, key)
        if value is not None and value <= 0:
            raise UserError(f"model.optimizer.{key} is {value}; give a positive learning rate")
    if not 0 < options.layer_decay <= 1:
        raise UserError(f"model.optimizer.layer_decay is {options.layer_decay}; give a factor in (0, 1]")
    if not (0 <= options.warmup < 1 or (options.warmup < math.inf and options.warmup == int(options.warmup))):
        raise UserError(
            f"model.optimizer.warmup is {options.warmup}; give a number of steps, or a part of the run's, in [0, 1)"
        )
    if not 0 <= options.encoder_warmup_epochs < math.inf:
        raise UserError(
            f"model.optimizer.encoder_warmup_epochs is {options.encoder_warmup_epochs}; give epochs, 0 or more"
        )
    own = {"momentum": 0.9} if options.name == "SGD" else {}
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.device.type in _FUSED for parameter in parameters)
    if options.name == "SGD" and any(hasattr(parameter, "device_mesh") for parameter in parameters):
        fused = False  # torch has no such step for weights that are divided among processes
    optimizer: torch.optim.Optimizer = getattr(torch.optim, options.name)(groups, fused=fused, **own)
    # A fused step could unscale the gradients of float16 by itself. That is too late to clip them, so that Lightning
    # refuses to clip in any mixed precision; without this they are unscaled before, as for every other optimizer.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def build_schedule(
    optimizer: torch.optim.Optimizer,
    options: OptimizerOptions,
    steps: float,
    epoch_steps: int = 0,
    thaw_epoch: Callable[[int], float] = lambda depth: 0,
) -> LRScheduler | None:
    """The schedule over `steps` optimizer steps; ``None`` where the rate never changes.

    Args:
        optimizer: Over groups of `parameter_groups`.
        options: How rates change.
        steps: Of the run; infinite where it has no end.
        epoch_steps: Of an epoch.
        thaw_epoch: First epoch in which the encoder's stage of a depth trains, infinite where it never does.

    Raises:
        UserError: A course over a run that has no end.
    """
    if options.schedule == "constant" and options.warmup == 0 and options.encoder_warmup_epochs == 0:
        return None
    if steps == math.inf and (options.schedule != "constant" or 0 < options.warmup < 1):
        raise UserError(
            "model.optimizer: the rate follows the steps of the run, which has no end; give trainer.max_epochs or "
            "trainer.max_steps, or take schedule constant and a warmup of 0 or of whole steps"
        )
    if options.warmup >= steps:
        notice(
            f"the rate never gets where it rises to: model.optimizer.warmup is {options.warmup:g} steps of {steps:g}"
        )
    rise = round(options.encoder_warmup_epochs * epoch_steps)
    first = thaw_epoch(0) * epoch_steps
    if steps < first + rise < math.inf:
        notice(
            f"the encoder never gets to its learning rate: it thaws at step {first:g} and rises over {rise} "
            f"(model.optimizer.encoder_warmup_epochs), but the run has {steps:g}"
        )

    def course(depth: int | None) -> Callable[[int], float]:
        if depth is None or rise == 0:
            return lambda step: _course(options, step, steps)
        thaw = thaw_epoch(depth) * epoch_steps
        # The first step of a thawed stage is one of the rise; before it there is nothing to train.
        return lambda step: _course(options, step, steps) * min(1.0, max(0.0, step - thaw + 1) / rise)

    return LambdaLR(optimizer, [course(group.get("depth")) for group in optimizer.param_groups])


def _course(options: OptimizerOptions, step: int, steps: float) -> float:
    """Factor on the rates in a step of the run, from zero, without the rise after the thaw."""
    warmup = round(options.warmup * steps) if 0 < options.warmup < 1 else int(options.warmup)
    if step < warmup:
        return step / warmup
    if options.schedule == "constant":
        return 1.0
    left = max(0, steps - step) / max(1, steps - warmup)
    return left if options.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))
