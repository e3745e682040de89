"""How far a run is, in lines for logs, and how long it will take."""

from __future__ import annotations

import datetime
import math
import sys
import time
from typing import Any

import lightning.pytorch as pl

from asd.errors import UserError
from asd.utils.log import logger

_FIRST = 10.0
"""Seconds of training after which its pace is known."""

_PART = 0.02
"""Of a long run, what lies between two lines."""

_WARMING = 3
"""Batches that are slower than the others: caches fill, kernels are chosen."""


class Progress(pl.Callback):
    """Says once how long training will take, and, where nobody watches a terminal, now and then how far the run is.

    Args:
        seconds: Between two lines at least; long runs say less. 0: nothing is said.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        if not 0 <= seconds < math.inf:
            raise UserError(f"progress.seconds is {seconds}; give 0 or more seconds between two lines")
        self.seconds = seconds
        # What training takes has its validations in it.
        self._training = self._evaluation = _Pace(0)
        self._told: float | None = None
        self._said = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._training, self._told = _Pace(trainer.global_step), None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how far training is."""
        all_steps, done = trainer.estimated_stepping_batches, trainer.global_step
        self._training.step(done)
        if not self._due(all_steps):
            return
        left = self._training.seconds_of(all_steps - done)
        if self._told is None and left != math.inf:
            logger.info(f"training takes about {duration(left)} more at this pace, until {_at(left)}")
        elif not _watched():
            loss = float(outputs["loss"]) if isinstance(outputs, dict) and "loss" in outputs else math.nan
            logger.info(
                f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {done} of {all_steps:g}: "
                f"loss {loss:.4g}{_left(left)}"
            )
        self._told = time.monotonic()

    def _due(self, whole: float) -> bool:
        """Whether it is time for a line: the first tells the pace, the others come the rarer the longer it takes."""
        if not self.seconds or self._training.known < _FIRST:
            return False
        if self._told is None:
            return True
        long = self._training.seconds_of(whole)
        return time.monotonic() - self._told > max(self.seconds, 0 if long == math.inf else _PART * long)

    def _begins(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._evaluation, self._said = _Pace(0), time.monotonic()

    def _goes_on(self, what: str, counts: list[int | float], index: int, loader: int) -> None:
        done = int(sum(counts[:loader])) + index + 1
        self._evaluation.step(done)
        if self.seconds and not _watched() and time.monotonic() - self._said > self.seconds:
            self._said = time.monotonic()
            left = self._evaluation.seconds_of(sum(counts) - done)
            logger.info(f"{what}: batch {done} of {sum(counts):g}{_left(left)}")

    on_validation_start = on_test_start = on_predict_start = _begins

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Say how far it is."""
        self._goes_on("validation", trainer.num_val_batches, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Say how far it is."""
        self._goes_on("test", trainer.num_test_batches, batch_idx, dataloader_idx)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Say how far it is."""
        self._goes_on("prediction", trainer.num_predict_batches, batch_idx, dataloader_idx)


class _Pace:
    """Seconds a step, over all but the first ones.

    Args:
        done: Steps that were done before.
    """

    def __init__(self, done: int) -> None:
        self._from, self._since, self._done, self._now = done + _WARMING, math.nan, done, math.nan

    def step(self, done: int) -> None:
        """So many are done now."""
        self._done, self._now = done, time.monotonic()
        if math.isnan(self._since) and done >= self._from:
            self._from, self._since = done, self._now

    @property
    def known(self) -> float:
        """Seconds that it was watched."""
        return 0.0 if math.isnan(self._since) or self._done == self._from else self._now - self._since

    def seconds_of(self, steps: float) -> float:
        """Seconds that so many take; infinite where that is not known."""
        return steps * self.known / (self._done - self._from) if self.known else math.inf


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _left(seconds: float) -> str:
    return "" if seconds == math.inf else f", about {duration(seconds)} left"


def _at(seconds: float) -> str:
    now = datetime.datetime.now()
    then = now + datetime.timedelta(seconds=seconds)
    return then.strftime("%H:%M" if then.date() == now.date() else "%A %H:%M")


def _watched() -> bool:
    """Whether progress bars are seen."""
    return sys.stdout.isatty()
