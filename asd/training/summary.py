"""What is about to be done, in one line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import lightning.pytorch as pl

from asd.data.classes import ClassTable
from asd.data.clip import Clip
from asd.training.network import Network
from asd.training.warmup import epoch_steps, warmup_of


def opening(trainer: pl.Trainer, network: Network, clips: Sequence[Clip]) -> str:
    """What is trained, on what, and where the results will be.

    Args:
        trainer: The trainer.
        network: What it trains.
        clips: The training clips.
    """
    encoder = type(network.encoder).__name__
    size = f"{sum(one.numel() for one in network.parameters()) / 1e6:.3g} M parameters"
    machines = len({clip.machine for clip in clips})
    epochs = f"{trainer.max_epochs} epochs" if (trainer.max_epochs or 0) > 0 else "epochs without end"
    of = f"{len(clips)} clips of {machines} machine{'' if machines == 1 else 's'}"
    where = trainer.log_dir or trainer.default_root_dir
    return f"trains {encoder} ({size}) on {trainer.strategy.root_device} for {epochs} of {of}; results are in {where}"


def summary(trainer: pl.Trainer, classes: ClassTable | None) -> str:
    """What is trained on what; classes and their clips, steps, and when the encoder thaws.

    Args:
        trainer: The trainer, with its data.
        classes: The auxiliary classes; ``None``: nothing is classified.
    """
    each, all_steps = epoch_steps(trainer), trainer.estimated_stepping_batches
    total = "without end" if all_steps == math.inf else f"{all_steps} in all"
    parts = [] if classes is None else [_classes(classes)]
    return "; ".join([*parts, f"{each} steps an epoch, {total}", _thaw(trainer, each)])


def _classes(classes: ClassTable) -> str:
    count = f"{len(classes)} auxiliary {'class' if len(classes) == 1 else 'classes'}"
    if not classes.counts:
        return count
    low, middle, high = min(classes.counts), statistics.median(classes.counts), max(classes.counts)
    return f"{count} of {low} clips" if low == high else f"{count} of {low} to {high} clips, median {middle:g}"


def _thaw(trainer: pl.Trainer, each: int) -> str:
    warmup = warmup_of(trainer)
    first = warmup.thaw_epoch(0)
    if first == math.inf:
        return "the encoder stays frozen"
    when = "from the start" if first == 0 else f"from step {first * each:g}, epoch {first:g}"
    one_by_one = f", a stage more every {warmup.stage_epochs} epochs" if warmup.stage_epochs else ""
    return f"the encoder trains {when}{one_by_one}"
