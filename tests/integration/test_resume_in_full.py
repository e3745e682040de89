"""With all that is random: a run that goes on from any of its checkpoints ends as if it had never stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from asd.data.mixing import NoiseMix
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.encoders.adapter import Adapter
from asd.encoders.augment import Mixup, SpecAugment
from asd.errors import Notice
from asd.testing import write_dataset
from asd.training.averaging import AveragedWeights
from asd.training.callbacks import RunCheckpoint
from asd.training.module import AnomalyDetector
from asd.training.optim import OptimizerOptions
from asd.training.warmup import WarmUp

EPOCHS = 3
KEPT = ("state_dict", "averaged_weights", "averaged_steps", "optimizer_states", "lr_schedulers", "global_step")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 training clips, longer than what is taken of them, so that each is cropped."""
    return write_dataset(tmp_path_factory.mktemp("data"), seconds=0.75)


def run(
    data_set: Path, folder: Path, resume: Path | None = None, more: Sequence[pl.Callback] = (), **changed: Any
) -> dict[str, Any]:
    """What the last checkpoint of a run says; it draws random numbers wherever it can, and thaws in its second epoch.

    Args:
        data_set: What it trains on.
        folder: Gets a checkpoint of each epoch.
        resume: The checkpoint that it goes on from.
        more: Further callbacks.
        changed: Options of the data and of the trainer.
    """
    from asd_plugins.dual_branch import DualBranchCNN

    pl.seed_everything(7, workers=True, verbose=False)
    encoder = DualBranchCNN(
        seconds=0.5, width=4, branch_dim=8, spectrum_points=200, augment=SpecAugment(time_width=0.4)
    )
    adapter = Adapter(hidden=[8], embedding_dim=4, dropout=0.3)
    optimizer = OptimizerOptions(schedule="cosine", warmup=0.2, lr=0.01)
    model = AnomalyDetector(encoder, adapter, mixup=Mixup(1.0), optimizer=optimizer)
    own = {name: changed.pop(name) for name in ("workers", "balance") if name in changed}
    data = ToyADMOS2(data_set, seconds=0.5, batch_size=5, noise_mix=NoiseMix((0.0, 5.0), 0.7), **own)
    epochs = RunCheckpoint(keep_all=True)
    epochs.dirpath = str(folder)
    trainer = pl.Trainer(
        callbacks=[WarmUp(1), AveragedWeights(0.9), epochs, *more], accelerator="cpu", devices=1,
        logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        **{"max_epochs": EPOCHS, "check_val_every_n_epoch": 2, **changed},
    )  # fmt: skip
    if resume is not None:
        torch.rand(3)  # what was drawn before must not matter
    trainer.fit(model, datamodule=data, ckpt_path=resume)
    content = torch.load(folder / f"epoch={EPOCHS - 1:03d}.ckpt", weights_only=True)
    return {key: content[key] for key in KEPT}


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two states are not the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [place]
    if isinstance(one, list):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        return [found for key in one for found in differences(one[key], other[key], f"{place}/{key}")]
    return [] if one == other else [place]


def steps(folder: Path) -> list[pl.Callback]:
    return [ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)]


@pytest.fixture(scope="module")
def whole(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the last checkpoint of a run that nothing interrupts; five steps in an epoch."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(data_set, folder, more=steps(folder))


@pytest.mark.parametrize(
    "name",
    ["epoch=000", "epoch=001", "step=8", "step=10"],
    ids=["before the thaw", "after it", "within an epoch", "between its last step and validation"],
)
def test_from_any_epoch_or_step(name: str, whole: tuple[Path, dict[str, Any]], data_set: Path, tmp_path: Path) -> None:
    folder, last = whole
    assert not differences(last, run(data_set, tmp_path, folder / f"{name}.ckpt", steps(tmp_path)))


def test_the_end_of_a_run_that_lacks_its_validation_is_told(
    whole: tuple[Path, dict[str, Any]], data_set: Path, tmp_path: Path
) -> None:
    told = pytest.warns(Notice, match="between the run's last step and its last validation")
    with told, contextlib.suppress(FileNotFoundError):
        run(data_set, tmp_path, whole[0] / "step=10.ckpt", max_epochs=2)
    assert not list(tmp_path.iterdir()), "no checkpoint is written"


def test_with_workers_balanced_and_accumulated(data_set: Path, tmp_path: Path) -> None:
    changed = {"workers": 2, "balance": "class", "accumulate_grad_batches": 2, "num_sanity_val_steps": 0}
    last = run(data_set, tmp_path, **changed)
    resumed = run(data_set, tmp_path / "again", tmp_path / "epoch=000.ckpt", **changed)
    assert not differences(last, resumed)


def test_with_a_number_of_steps(data_set: Path, tmp_path: Path) -> None:
    """Lightning alone would leave out the epoch after the one that the checkpoint is of."""
    changed = {"max_steps": 5 * EPOCHS, "check_val_every_n_epoch": EPOCHS}
    last = run(data_set, tmp_path, **changed)
    assert not differences(last, run(data_set, tmp_path / "again", tmp_path / "epoch=000.ckpt", **changed))


class Fail(pl.Callback):
    """Fails in the second epoch, at a hook of that name; what there is then is kept."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.fail)

    def fail(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.current_epoch == 1 and (trainer.validating or trainer.fit_loop.batch_idx == 1):
            raise ZeroDivisionError


def failed(data_set: Path, folder: Path, hook: str, **changed: Any) -> Path:
    """The checkpoint that a run keeps as it fails."""
    keep = ModelCheckpoint(folder / "kept", save_on_exception=True, every_n_epochs=EPOCHS)
    with pytest.raises(ZeroDivisionError):
        run(data_set, folder, more=[Fail(hook), keep], **changed)
    (kept,) = (folder / "kept").iterdir()
    return kept


def test_from_an_error_in_validation(whole: tuple[Path, dict[str, Any]], data_set: Path, tmp_path: Path) -> None:
    kept = failed(data_set, tmp_path, "on_validation_batch_start")
    assert not differences(whole[1], run(data_set, tmp_path / "again", kept))


@pytest.mark.parametrize(
    ("hook", "batches"), [("on_before_optimizer_step", 1), ("on_train_batch_start", 2)], ids=["in a batch", "in a step"]
)
def test_what_cannot_be_gone_on_from_exactly_is_told(hook: str, batches: int, data_set: Path, tmp_path: Path) -> None:
    kept = failed(data_set, tmp_path, hook, accumulate_grad_batches=batches)
    with pytest.warns(Notice, match="within a step of the optimizer"):
        run(data_set, tmp_path / "again", kept, accumulate_grad_batches=batches)
