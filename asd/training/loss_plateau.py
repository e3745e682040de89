"""Training ends where the loss has stopped falling."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl

from asd.errors import UserError
from asd.training import distributed
from asd.utils.log import logger


class LossPlateau(pl.Callback):
    """Makes the next epoch the last one where the training loss has hardly fallen for a while.

    Neither labels nor test clips decide. The last epoch is validated, tested and kept as any last epoch is; a schedule
    of the learning rate that ends with the run ends early.

    Args:
        patience: Epochs that are compared with all before them.
        gain: Part of the loss by which it must have fallen in these.
    """

    def __init__(self, patience: int = 10, gain: float = 0.05) -> None:
        if patience < 1 or not 0 <= gain < 1:
            raise UserError(f"LossPlateau: patience is {patience}, gain {gain}; give 1 or more epochs, and 0 to 1")
        self.patience, self.gain = patience, gain
        self.losses: list[float] = []
        self.last: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that was to end goes on to its end."""
        self._end_at(trainer, self.last)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the loss of the last epochs with what it was before."""
        loss = trainer.callback_metrics.get("train/loss")
        self.losses.append(distributed.broadcast(math.nan if loss is None else float(loss)))
        now = trainer.current_epoch
        if self.last is not None or not self._fell_little() or now + 2 >= (trainer.max_epochs or math.inf):
            return
        self.last = now + 1
        logger.info(
            f"the loss fell by less than {100 * self.gain:g} % in {self.patience} epochs: "
            f"epoch {self.last + 1} is the last"
        )
        self._end_at(trainer, self.last)

    def _fell_little(self) -> bool:
        before, lately = self.losses[: -self.patience], self.losses[-self.patience :]
        return bool(before) and min(lately) > (1 - self.gain) * min(before)

    @staticmethod
    def _end_at(trainer: pl.Trainer, last: int | None) -> None:
        if last is not None:
            trainer.fit_loop.max_epochs = last + 1

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"losses": list(self.losses), "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.losses, self.last = list(state_dict["losses"]), state_dict["last"]
