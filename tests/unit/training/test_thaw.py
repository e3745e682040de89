"""Rates by stage in a run that freezes, thaws and rises; resumed as uninterrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from asd.training.optim import OptimizerOptions
from asd.training.warmup import WarmUp
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer

EPOCHS, FROZEN, RISE = 4, 1, 1.5
OPTIONS = OptimizerOptions(lr=1e-3, encoder_lr=1e-4, schedule="linear", encoder_warmup_epochs=RISE)


class Recorded(pl.Callback):
    """Rates by depth of the stage in each optimizer step, and a checkpoint after the second epoch."""

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.rates: dict[int, dict[Any, float]] = {}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.rates[trainer.global_step] = {group["depth"]: group["lr"] for group in optimizer.param_groups}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1 and self.checkpoint is not None:
            trainer.save_checkpoint(self.checkpoint)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_rates_rise_from_the_thaw_of_each_stage_and_go_on_where_they_were(
    small_run: SmallRun, tmp_path: Path, accumulate: int
) -> None:
    runs = []
    for resumed in (False, True):
        recorded = Recorded(None if resumed else tmp_path / "second.ckpt")
        trainer = small_trainer(
            tmp_path, max_epochs=EPOCHS, accumulate_grad_batches=accumulate, limit_val_batches=0,
            callbacks=[WarmUp(FROZEN, stage_epochs=1), recorded],
        )  # fmt: skip
        model = small_model(optimizer=OPTIONS)
        pl.seed_everything(1, verbose=False)
        data = small_data(small_run.data.root, batch_size=5)
        trainer.fit(model, datamodule=data, ckpt_path=tmp_path / "second.ckpt" if resumed else None)
        runs.append(recorded.rates)
    whole, after = runs
    batches = len(data.train_dataloader())
    each = -(-batches // accumulate)
    assert batches % 2 == 1, "the last step of an epoch accumulates fewer batches"
    assert list(whole) == list(range(EPOCHS * each))
    assert after == {step: found for step, found in whole.items() if step >= 2 * each}
    for step, found in whole.items():
        left = 1 - step / (EPOCHS * each)
        assert found.pop(None) == pytest.approx(1e-3 * left)
        for depth, rate in found.items():
            risen = (step - each * (FROZEN + depth) + 1) / round(RISE * each)
            assert rate == pytest.approx(1e-4 * left * min(1, max(0, risen)))
