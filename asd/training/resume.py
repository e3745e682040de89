"""Where a resumed run goes on."""

from __future__ import annotations

from functools import partial

import lightning.pytorch as pl

from asd.data.sampling import TrainLoader
from asd.training.lightning_seams import begin_next_epoch, interrupted_within_step, trained_batches
from asd.utils.log import notice


def go_on(trainer: pl.Trainer) -> None:
    """Have a run that was interrupted begin with the batch that it would have had next; before its first epoch."""
    begin_next_epoch(trainer)
    if trainer.fit_loop.done:
        notice(
            "the checkpoint was written between the run's last step and its last validation: nothing is left to train, "
            "and the scorers in it are of an earlier validation; go on from an earlier checkpoint"
        )
    if interrupted_within_step(trainer):
        notice(
            "the checkpoint was written within a step of the optimizer, whose gradients are lost: the run goes on from "
            "there, but not bit for bit as it would have; one from the end of an epoch does"
        )
    clips = trainer.train_dataloader
    if isinstance(clips, TrainLoader):
        clips.trained = partial(trained_batches, trainer)
