"""Freeze, then thaw: what is trainable is a function of the epoch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import lightning.pytorch as pl
from torch import nn

from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.training.lightning_seams import wrap_anew
from asd.training.quickened import compile_anew, share_gradients
from asd.utils.log import logger


class WarmUp(pl.Callback):
    """Freezes the encoder for the first epochs, in which adapter and head train alone; then thaws it.

    Frozen means no gradient and evaluation mode: no dropout, no drift of batch normalisation, no SpecAugment. The
    statistics of a batch normalisation are frozen with its weights, whatever trains beside it; augmentation comes back
    with the first stage that thaws, also in encoders within the encoder. Because the state follows from the epoch, a
    run resumed before or after the thaw goes on as if never interrupted. Under DDP the model is wrapped anew when the
    set of trainable parameters changes, because a wrapper reduces the gradients of those parameters alone that were
    trainable when it was made.

    Args:
        epochs: Number of frozen epochs; 0 trains everything from the start, -1 never thaws.
        stage_epochs: Thaw stage after stage from the deepest, one every so many epochs; 0 thaws all at once.
        keep_statistics: Keep the running statistics of the encoder's batch normalisation after the thaw: they come
            from far more sound than a machine's few clips, and those of a mixed batch fit no single machine.
    """

    def __init__(self, epochs: int = 0, stage_epochs: int = 0, keep_statistics: bool = False) -> None:
        if epochs < -1 or stage_epochs < 0:
            raise UserError(
                f"warmup: epochs is {epochs} and stage_epochs {stage_epochs}; give 0 or more (epochs -1: never thaw)"
            )
        self.epochs = epochs
        self.stage_epochs = stage_epochs
        self.keep_statistics = keep_statistics

    def thaw_epoch(self, depth: int) -> float:
        """First epoch in which the encoder's stage of this depth trains, 0 for the deepest; infinite: never."""
        return math.inf if self.epochs == -1 else self.epochs + depth * self.stage_epochs

    def thawed_stages(self, epoch: int, stages: int) -> int:
        """How many of an encoder's `stages`, counted from the deepest, train in `epoch`."""
        return sum(self.thaw_epoch(depth) <= epoch for depth in range(stages))

    def apply(self, encoder: Encoder, epoch: int) -> bool:
        """Freeze and thaw `encoder` as `epoch` asks; returns whether the set of trainable parameters changed."""
        before = [p.requires_grad for p in encoder.parameters()]
        stages = encoder.stages()
        thawed = self.thawed_stages(epoch, len(stages))
        whole = thawed == len(stages)
        for parameter in encoder.parameters():
            parameter.requires_grad_(whole)
        encoder.train(whole)
        if not whole and thawed:
            for part in _encoders_in(encoder):
                part.augment.train()
            for stage in stages[len(stages) - thawed :]:
                stage.train()
                for parameter in stage.parameters():
                    parameter.requires_grad_(True)
        for part in _encoders_in(encoder):
            for parameter in part.fixed():
                parameter.requires_grad_(False)
        for module in encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and (self.keep_statistics or _is_frozen(module)):
                module.eval()
        return before != [p.requires_grad for p in encoder.parameters()]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set the state before the strategy wraps the model."""
        if stage != "fit":
            return
        if trainer.max_epochs is not None and 0 < trainer.max_epochs <= self.epochs:
            raise UserError(
                f"warmup.epochs is {self.epochs} but the run has {trainer.max_epochs} epochs, so the encoder would "
                "never train; lower warmup.epochs, raise trainer.max_epochs, or keep it frozen with warmup.epochs -1"
            )
        self.apply(_encoder(pl_module), trainer.current_epoch)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run in which nothing would train."""
        if not any(p.requires_grad for p in pl_module.parameters()):
            raise UserError(
                "nothing can be trained while the encoder is frozen: give model.adapter a layer or model.head "
                "trainable centres, or set warmup.epochs to 0"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the state of the epoch, whose start a run that is resumed within it does not see."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the state of the epoch, and wrap the model anew where that changes what is trained."""
        encoder = _encoder(pl_module)
        if not self.apply(encoder, trainer.current_epoch):
            return
        trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
        logger.info(f"epoch {trainer.current_epoch}: {trained:,} parameters of the encoder train")
        compile_anew(pl_module)
        share_gradients(trainer, pl_module)
        wrap_anew(trainer, pl_module)


def warmup_of(trainer: pl.Trainer) -> WarmUp:
    """What freezes and thaws the encoder in a run; where it has no `WarmUp`, one that does neither."""
    return next((one for one in getattr(trainer, "callbacks", []) if isinstance(one, WarmUp)), WarmUp())


def epoch_steps(trainer: pl.Trainer) -> int:
    """Optimizer steps of an epoch."""
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def _encoder(module: pl.LightningModule) -> Encoder:
    encoder = next(_encoders(module), None)
    if encoder is None:
        raise UserError("warmup: the model has no encoder to freeze")
    return encoder


def _encoders_in(encoder: Encoder) -> Iterator[Encoder]:
    """The encoder and those that it is made of."""
    return (part for part in encoder.modules() if isinstance(part, Encoder))


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _encoders(module: nn.Module) -> Iterator[Encoder]:
    return (child for child in module.children() if isinstance(child, Encoder))
