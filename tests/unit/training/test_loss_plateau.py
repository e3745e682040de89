"""Training ends where the loss hardly falls, with an epoch that is validated as any last one is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asd.errors import UserError
from asd.training import LossPlateau, RunCheckpoint
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer


def engine(max_epochs: int | None = 100) -> Any:
    return SimpleNamespace(
        current_epoch=0, callback_metrics={}, max_epochs=max_epochs, fit_loop=SimpleNamespace(max_epochs=max_epochs)
    )


def last_epoch(losses: list[float], **options: Any) -> int | None:
    """The number of the last epoch; ``None``: training goes on."""
    stop, trainer = LossPlateau(**options), engine()
    for trainer.current_epoch, loss in enumerate(losses):
        trainer.callback_metrics = {"train/loss": torch.tensor(loss)}
        stop.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.fit_loop.max_epochs == (100 if stop.last is None else stop.last + 1)
    return stop.last


@pytest.mark.parametrize(
    ("losses", "last"),
    [
        ([8, 4, 2, 1, 0.5], None),
        ([8, 4, 3.9, 3.9], 4),
        ([8, 4, 3.9, 3.5, 3.1], None),
        ([8, 4, 5, 5, 1], 4),
        ([4.0, 4.0], None),
        ([4.0, 4.0, 4.0], 3),
        ([float("nan")] * 5, None),
    ],
)
def test_it_ends_where_the_loss_has_hardly_fallen(losses: list[float], last: int | None) -> None:
    assert last_epoch(losses, patience=2, gain=0.1) == last


def test_the_last_epoch_is_validated_and_tested_with(small_run: SmallRun, tmp_path: Path) -> None:
    model = small_model()
    stop = LossPlateau(patience=1, gain=0.99)
    trainer = small_trainer(
        tmp_path, max_epochs=50, check_val_every_n_epoch=50, limit_train_batches=1, num_sanity_val_steps=0,
        callbacks=[stop],
    )  # fmt: skip
    trainer.callbacks.append(_Validating())
    trainer.fit(model, datamodule=small_data(small_run.data.root))
    assert stop.last == 2
    assert trainer.current_epoch == 3
    assert model.fitted


class _Validating(RunCheckpoint):
    """Has the last epoch validated as every run does, and keeps nothing."""

    def setup(self, *_: Any, **__: Any) -> None:
        pass

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, *_: Any, **__: Any) -> None:
        pass

    def on_validation_end(self, *_: Any, **__: Any) -> None:
        pass

    def on_train_end(self, *_: Any, **__: Any) -> None:
        pass


def test_a_resumed_run_goes_on_to_the_same_end() -> None:
    stop, trainer = LossPlateau(patience=1), engine()
    for trainer.current_epoch in range(2):
        trainer.callback_metrics = {"train/loss": torch.tensor(1.0)}
        stop.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    again, resumed = LossPlateau(patience=1), engine()
    again.load_state_dict(stop.state_dict())
    again.on_train_start(resumed, None)  # type: ignore[arg-type]
    assert resumed.fit_loop.max_epochs == 3


@pytest.mark.parametrize("options", [{"patience": 0}, {"gain": 1.0}, {"gain": -0.1}])
def test_settings_without_a_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="LossPlateau: patience is"):
        LossPlateau(**options)
