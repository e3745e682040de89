"""What is used of Lightning without being public: each use fails here first, and says which it is."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel, RandomDataset
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, ddp
from torch.utils.data import DataLoader

from asd.training import lightning_seams
from asd.training.lightning_seams import (
    FullySharded,
    OpenCLI,
    begin_next_epoch,
    interrupted_within_step,
    is_training,
    share_gradients_in_place,
    trained_batches,
    trainer_of,
    whole_checkpoint,
    wrap_anew,
)


class _Watched(BoringModel):
    def on_train_start(self) -> None:
        self.seen = is_training(self)

    def on_train_end(self) -> None:
        self.content = whole_checkpoint(self.trainer)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> _Watched:
    model = _Watched()
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        default_root_dir=tmp_path_factory.mktemp("run"),
    )  # fmt: skip
    trainer.fit(model)
    return model


def test_whether_it_trains(fitted: _Watched) -> None:
    assert not is_training(BoringModel())
    assert trainer_of(BoringModel()) is None
    assert trainer_of(fitted) is fitted.trainer
    assert fitted.seen
    assert not is_training(fitted)


def test_a_whole_checkpoint_holds_weights_and_no_optimizer(fitted: _Watched) -> None:
    torch.testing.assert_close(fitted.content["state_dict"], dict(fitted.state_dict()))
    assert "optimizer_states" not in fitted.content


class _Placed(BoringModel):
    """Notes its epochs and batches, and how many the seam says are done; fails at a batch of its second epoch."""

    def __init__(self, fails: int | None = None) -> None:
        super().__init__()
        self.fails = fails
        self.places: list[tuple[int, int]] = []
        self.done: list[int] = []
        self.told: list[bool] = []

    def train_dataloader(self) -> DataLoader[Any]:
        model = self

        class Loader(DataLoader[Any]):
            def __iter__(self) -> Any:
                model.done.append(trained_batches(model.trainer))
                yield from super().__iter__()

        return Loader(RandomDataset(32, 64))

    def on_train_start(self) -> None:
        self.told.append(interrupted_within_step(self.trainer))
        begin_next_epoch(self.trainer)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.places.append((self.current_epoch, batch_idx))
        if self.places[-1] == (1, self.fails):
            raise ZeroDivisionError

    @classmethod
    def run(cls, folder: Path, fails: int | None = None, resume: str | None = None, **options: Any) -> _Placed:
        model = cls(fails)
        keep = ModelCheckpoint(folder, "{epoch}", save_on_exception=True, save_on_train_epoch_end=True, save_top_k=-1)
        trainer = pl.Trainer(
            max_epochs=3, limit_train_batches=4, limit_val_batches=0, logger=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", default_root_dir=folder, callbacks=[keep], **options,
        )  # fmt: skip
        with pytest.raises(ZeroDivisionError) if fails is not None else contextlib.nullcontext():
            trainer.fit(model, ckpt_path=None if resume is None else str(folder / resume), weights_only=True)
        return model


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
@pytest.mark.parametrize(("batch", "told"), [(2, False), (3, True)])
def test_a_run_goes_on_at_its_batch(batch: int, told: bool, tmp_path: Path) -> None:
    _Placed.run(tmp_path, fails=batch, accumulate_grad_batches=2)
    resumed = _Placed.run(tmp_path, resume="epoch=1.ckpt", accumulate_grad_batches=2)
    assert resumed.places == [*((1, number) for number in range(batch, 4)), *((2, number) for number in range(4))]
    assert resumed.done == [batch, 0]
    assert resumed.told == [told]


@pytest.mark.parametrize("options", [{}, {"max_steps": 12}])
def test_a_run_goes_on_at_its_epoch(options: dict[str, int], tmp_path: Path) -> None:
    _Placed.run(tmp_path, **options)
    resumed = _Placed.run(tmp_path, resume="epoch=0.ckpt", **options)
    assert resumed.places == [(epoch, batch) for epoch in (1, 2) for batch in range(4)]
    assert resumed.done == [0, 0]
    assert resumed.told == [False]


def test_ddp_wraps_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    assert callable(DDPStrategy._setup_model)
    assert callable(DDPStrategy._register_ddp_hooks)
    monkeypatch.setattr(DDPStrategy, "_setup_model", lambda self, model: done.append(model) or "wrapped")
    monkeypatch.setattr(DDPStrategy, "_register_ddp_hooks", lambda self: done.append("hooks"))
    strategy, model = DDPStrategy(), BoringModel()
    wrap_anew(SimpleNamespace(strategy=strategy), model)  # type: ignore[arg-type]
    assert done == [model, "hooks"]
    assert strategy.model == "wrapped"
    wrap_anew(SimpleNamespace(strategy=object()), model)  # type: ignore[arg-type]
    assert len(done) == 2


@pytest.mark.parametrize("static", [True, False])
def test_gradients_are_shared_where_they_are_kept(static: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddp, "DistributedDataParallel", lambda **options: options)
    for given, view in (({}, True), ({"gradient_as_bucket_view": False}, False)):
        strategy = DDPStrategy(parallel_devices=[torch.device("cpu")], **given)
        share_gradients_in_place(SimpleNamespace(strategy=strategy), static)  # type: ignore[arg-type]
        wrapped: Any = strategy._setup_model(BoringModel())
        assert (wrapped["gradient_as_bucket_view"], wrapped["static_graph"]) == (view, static)
        assert "find_unused_parameters" not in wrapped
    for given in ({}, {"static_graph": static}):  # asked again, as at a thaw
        strategy = DDPStrategy(parallel_devices=[torch.device("cpu")], **given)
        for asked in (static, not static):
            share_gradients_in_place(SimpleNamespace(strategy=strategy), asked)  # type: ignore[arg-type]
            wrapped = strategy._setup_model(BoringModel())
            assert wrapped["static_graph"] == given.get("static_graph", asked)
    share_gradients_in_place(SimpleNamespace(strategy=object()), static)  # type: ignore[arg-type]


def test_every_process_holds_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[Any] = []
    monkeypatch.setattr(
        ModelParallelStrategy,
        "setup_environment",
        lambda self: sizes.append((self._data_parallel_size, self._tensor_parallel_size)),
    )
    strategy = FullySharded()
    strategy.num_nodes, strategy.parallel_devices = 2, [torch.device("cpu")] * 3
    strategy._lightning_module = model = BoringModel()
    model.layer.bias.requires_grad_(False)
    strategy.setup_environment()
    assert sizes == [(6, 1)]
    seen: dict[str, Any] = {}
    states = {"optimizer_states": ["of the first"]}

    def load(self: Any, path: str, weights_only: bool) -> dict[str, Any]:
        seen.update(only=weights_only, left_to_lightning=list(self.optimizers))
        return states

    def load_optimizer(of: Any, optimizer: Any, state: Any) -> None:
        seen.update(of=of, optimizer=optimizer, state=state, trains=model.layer.bias.requires_grad)

    monkeypatch.setattr(ModelParallelStrategy, "load_checkpoint", load)
    monkeypatch.setattr(lightning_seams, "_load_optimizer", load_optimizer)
    strategy.model, optimizer = model, torch.optim.SGD(model.parameters())
    strategy.optimizers = [optimizer]
    assert strategy.load_checkpoint("last.ckpt", weights_only=False) == {"state_dict": {}, **states}
    assert seen == {
        "only": True, "left_to_lightning": [],
        "of": model, "optimizer": optimizer, "state": "of the first", "trains": True,
    }  # fmt: skip
    assert strategy.optimizers == [optimizer]
    assert not model.layer.bias.requires_grad


def test_the_code_of_a_failed_child_is_that_of_its_parent() -> None:
    code = """
import subprocess, sys
from lightning.fabric.strategies.launchers import subprocess_script
from asd.training.lightning_seams import on_failed_child
on_failed_child(lambda started: [process.wait() for process in started][0])
child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
subprocess_script._ChildProcessObserver(main_pid=0, child_processes=[child], sleep_period=0)._terminate_all()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_steps_of_the_command_line_can_be_overridden(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class CLI(OpenCLI):
        def complete_subcommand(self, name: str, parser: Any) -> None:
            seen.setdefault("parsers", []).append(name)
            if name == "fit":
                parser.set_defaults({"trainer.max_epochs": 3})

        def run_subcommand(self, run: Any) -> None:
            seen["epochs"] = self.part(self.config_init, "trainer").max_epochs
            seen["config"] = self.plain_config()
            run()

    cli = CLI(
        BoringModel, BoringDataModule, save_config_callback=None, seed_everything_default=1,
        args=[
            "fit", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu",
            f"--trainer.default_root_dir={tmp_path}",
        ],
    )  # fmt: skip
    assert seen["parsers"] == ["fit"], "the others take longer than the rest of the start"
    assert seen["epochs"] == 3
    assert seen["config"]["trainer"]["fast_dev_run"] is True
    assert cli.trainer.state.finished
