"""Moving average of the weights: what is scored and kept is smoother than what the last step left."""

from __future__ import annotations

import copy
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from asd.errors import UserError

_KEY = "averaged_weights"
_COUNT = "averaged_steps"
"""Steps that are in the average; checkpoints of earlier versions have none, where it is the run's."""
_AVERAGED = ("encoder", "adapter")


class AveragedWeights(pl.Callback):
    """Validates, tests and saves with an exponential moving average of encoder and adapter; trains with the weights.

    A checkpoint holds the average in the place of the weights, so that it scores as validation did, and the weights
    beside it, from which a resumed run goes on. Lightning's own callback averages the whole model, whose fitted scorers
    come and go and mean nothing on average.

    Args:
        decay: Weight of the average at each step, once the run is long enough for it; 0.999 looks back about a thousand
            steps. At the n-th step it is ``(1 + n) / (10 + n)`` at most, so that the average forgets where a short run
            began and looks back over about its last tenth (as `tf.train.ExponentialMovingAverage` does with
            ``num_updates``).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"AveragedWeights: decay is {decay}; give a factor in [0, 1), such as 0.999")
        self.decay = decay
        self._average: nn.ModuleDict | None = None
        self._restored: dict[str, Tensor] | None = None
        self._steps = 0
        self._updates = 0
        self._swapped = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the weights, or from the average of the checkpoint."""
        if getattr(pl_module, "device_mesh", None) is not None:
            raise UserError(
                "AveragedWeights: weights that are divided among processes are not averaged; set trainer.callbacks to "
                "null, or trainer.strategy to ddp"
            )
        self._average, self._swapped = copy.deepcopy(_averaged(pl_module)).requires_grad_(False), False
        if self._restored is None:
            self._updates = 0
        else:
            self._average.load_state_dict(self._restored)
        self._restored = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count steps from where the run is."""
        self._steps = trainer.global_step

    def decay_at(self, step: int) -> float:
        """Weight of the average at that step, of which there were so many before."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Take in the weights, once an optimizer step; nothing waits for the device."""
        if self._average is None or trainer.global_step <= self._steps:
            return
        averages, weights = list(self._average.parameters()), list(_averaged(pl_module).parameters())
        # The first step is taken in whole.
        decay = self.decay_at(self._updates) if self._updates else 0.0
        get_ema_multi_avg_fn(decay)(averages, weights, self._updates)
        self._updates += 1
        self._steps = trainer.global_step

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in the place of the weights."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back."""
        self._swap(pl_module)

    def _swap(self, pl_module: pl.LightningModule) -> None:
        if self._average is None:
            return
        self._swapped = not self._swapped
        with torch.no_grad():
            for average, weight in zip(self._average.parameters(), _averaged(pl_module).parameters(), strict=True):
                kept = weight.clone()
                weight.copy_(average)
                average.copy_(kept)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the model."""
        self._swap(pl_module)
        self._average = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the model's weights, and the weights beside it."""
        if self._average is None:
            return
        weights = {key: checkpoint["state_dict"][key] for key in self._average.state_dict()}
        # Buffers are no weights: those of the average are where it began.
        average = weights | {
            key: value.detach() for key, value in self._average.named_parameters(remove_duplicate=False)
        }
        if self._swapped:  # validation failed, and a callback keeps what there is
            average, weights = weights, average
        checkpoint[_KEY] = weights
        checkpoint["state_dict"] |= average
        checkpoint[_COUNT] = self._updates

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """When training goes on: take the weights, and keep the average for `on_fit_start`."""
        if trainer.training and _KEY in checkpoint:
            self._restored = {key: checkpoint["state_dict"][key].clone() for key in checkpoint[_KEY]}
            self._updates = int(checkpoint.get(_COUNT, checkpoint["global_step"]))
            _averaged(pl_module).load_state_dict(checkpoint[_KEY], strict=False)


def _averaged(pl_module: pl.LightningModule) -> nn.ModuleDict:
    return nn.ModuleDict({name: getattr(pl_module, name) for name in _AVERAGED})
