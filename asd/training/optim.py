"""Optimizer and learning-rate schedule from plain options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from asd.encoders.base import Encoder
from asd.errors import UserError


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights are updated.

    Attributes:
        name: Optimizer of `torch.optim`.
        lr: Learning rate of adapter and head.
        encoder_lr: Learning rate of the encoder's deepest stage; ``None``: `lr`.
        layer_decay: Factor on the learning rate from each stage of the encoder to the one below it.
        weight_decay: Decay of weight matrices; biases and normalisations have none.
        schedule: Course of the rate over the run, by step: constant, or falling to zero linearly or as a cosine.
        warmup: Part of the run's steps over which the rate rises linearly from zero.
    """

    name: Literal["Adam", "AdamW", "SGD"] = "Adam"
    lr: float = 1e-3
    encoder_lr: float | None = None
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = 0.0


DEFAULT_OPTIMIZER = OptimizerOptions()


def parameter_groups(encoder: Encoder, others: list[nn.Module], options: OptimizerOptions) -> list[dict[str, Any]]:
    """Groups for the optimizer: each stage of the encoder at its own rate, then everything else.

    Frozen parameters are included, so that nothing need be added when they thaw.
    """
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()

    def add(module: nn.Module, lr: float, name: str) -> None:
        fresh = [p for p in module.parameters() if id(p) not in seen]
        seen.update(map(id, fresh))
        for decay, chosen in (
            (options.weight_decay, [p for p in fresh if p.ndim > 1]),
            (0.0, [p for p in fresh if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": lr, "weight_decay": decay, "name": f"{name}/{len(groups)}"})

    lr = options.lr if options.encoder_lr is None else options.encoder_lr
    for depth, stage in enumerate(reversed(encoder.stages())):
        add(stage, lr * options.layer_decay**depth, f"encoder stage -{depth + 1}")
    add(encoder, lr, "encoder")
    for module in others:
        add(module, options.lr, type(module).__name__)
    return groups


def build_optimizer(groups: list[dict[str, Any]], options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer over `groups`.

    Raises:
        UserError: A rate that is not positive, or a decay or warm-up outside its range.
    """
    for key in ("lr", "encoder_lr"):
        value = getattr(options, key)
        if value is not None and value <= 0:
            raise UserError(f"model.optimizer.{key} is {value}; give a positive learning rate")
    if not 0 < options.layer_decay <= 1:
        raise UserError(f"model.optimizer.layer_decay is {options.layer_decay}; give a factor in (0, 1]")
    if not 0 <= options.warmup < 1:
        raise UserError(f"model.optimizer.warmup is {options.warmup}; give the part of the run's steps, in [0, 1)")
    if options.name == "SGD":
        return torch.optim.SGD(groups, momentum=0.9)
    kind: type[torch.optim.Adam | torch.optim.AdamW] = getattr(torch.optim, options.name)
    return kind(groups)


def build_schedule(optimizer: torch.optim.Optimizer, options: OptimizerOptions, steps: int) -> LRScheduler | None:
    """The schedule over `steps` optimizer steps; ``None`` where the rate never changes."""
    if options.schedule == "constant" and options.warmup == 0:
        return None
    from transformers.optimization import get_scheduler

    name = "constant_with_warmup" if options.schedule == "constant" else options.schedule
    schedule: LRScheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=round(options.warmup * steps),
        num_training_steps=None if options.schedule == "constant" else steps,
    )
    return schedule
