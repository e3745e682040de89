"""A compiled encoder with all that changes its graph: every step has the loss that it has without compilation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch._dynamo.utils import counters

from asd.encoders.base import Encoder
from asd.errors import UserError
from tests.forked import free_port, in_its_own_process, ranks

EPOCHS = 3
COMPILER = "aot_eager"  # what the usual one is handed: graphs forward and back, without minutes of C++


class Losses(pl.Callback):
    """The loss of every step, as Lightning hands it on."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.all.append(outputs["loss"].item())


def steps(encoder: Encoder, data_set: Path, folder: Path, resume: Path | None = None, **changed: Any) -> list[float]:
    """The losses of a run that thaws in its second epoch and keeps a checkpoint of each in `folder`."""
    from asd.data.modules.toyadmos2 import ToyADMOS2
    from asd.encoders.adapter import Adapter
    from asd.training.callbacks import RunCheckpoint
    from asd.training.module import AnomalyDetector
    from asd.training.optim import OptimizerOptions
    from asd.training.warmup import WarmUp

    pl.seed_everything(7, verbose=False)
    torch.compiler.reset()
    counters.clear()
    # Adam would make whole steps of roundings, where a gradient is zero but for them.
    optimizer, compiles = OptimizerOptions("SGD", lr=0.05), changed.pop("compile", False)
    model = AnomalyDetector(encoder, Adapter(embedding_dim=4), optimizer=optimizer, compile=compiles)
    losses, epochs = Losses(), RunCheckpoint(keep_all=True)
    epochs.dirpath = str(folder)
    trainer = pl.Trainer(
        callbacks=[WarmUp(1), epochs, losses], accelerator="cpu", max_epochs=EPOCHS, logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        # Few graphs: of whole batches alone, and none to validate.
        limit_train_batches=2, limit_val_batches=0, **{"devices": 1, **changed},
    )  # fmt: skip
    trainer.fit(model, datamodule=ToyADMOS2(data_set, seconds=0.25, batch_size=4), ckpt_path=resume)
    assert bool(counters["stats"]["unique_graphs"]) == bool(compiles)
    assert not counters["graph_break"]
    return losses.all


def beats(depth: int = 2) -> Encoder:
    from asd_plugins.beats import BEATs
    from asd_plugins.beats_layers import BEATsShape

    torch.manual_seed(0)
    return BEATs(shape=BEATsShape(depth, 16, 32, 2, 8, 8, 2), gradient_checkpointing=True)


def adapted() -> Encoder:
    from asd_plugins.lora import LoRA

    return LoRA(beats(1), rank=2)


def branches() -> Encoder:
    from asd_plugins.dual_branch import DualBranchCNN

    torch.manual_seed(0)
    return DualBranchCNN(seconds=0.25, width=4, branch_dim=8, spectrum_points=200)


def keys(folder: Path) -> set[str]:
    """Of the weights in the last checkpoint of a run."""
    return set(torch.load(folder / f"epoch={EPOCHS - 1:03d}.ckpt", weights_only=True)["state_dict"])


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from asd.testing import write_dataset

    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("made", [adapted, branches])
def test_frozen_thawed_accumulated_and_resumed(made: Any, data_set: Path, tmp_path: Path) -> None:
    several = {"accumulate_grad_batches": 2}
    plain = steps(made(), data_set, tmp_path / "plain", **several)
    compiled = steps(made(), data_set, tmp_path / "compiled", compile=COMPILER, **several)
    assert_same(compiled, plain)
    assert keys(tmp_path / "compiled") == keys(tmp_path / "plain")
    frozen, thawed = (tmp_path / f"compiled/epoch={epoch:03d}.ckpt" for epoch in (0, 1))
    each = len(plain) // EPOCHS
    assert_same(steps(made(), data_set, tmp_path / "again", frozen, compile=COMPILER, **several), plain[each:])
    assert_same(steps(made(), data_set, tmp_path / "back", thawed, **several), plain[2 * each :])


@pytest.mark.slow
def test_in_two_processes_that_share_gradients_or_divide_weights(data_set: Path, tmp_path: Path) -> None:
    def run(rank: int) -> None:
        in_its_own_process(_in_two, data_set, tmp_path, started[rank], log=tmp_path / f"{rank}.log")

    started = ranks(2, free_port())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))


def _in_two(data_set: Path, folder: Path, environment: Mapping[str, str]) -> None:
    import torch.distributed as dist

    from asd.training.lightning_seams import FullySharded

    os.environ |= environment
    dist._DEFAULT_FIRST_BUCKET_BYTES = 500  # so that graphs are cut where gradients are sent, as those of large ones
    whole: dict[str, Any] = {"devices": 2, "strategy": "ddp"}
    plain = steps(beats(), data_set, folder / "plain", **whole)
    assert_same(steps(beats(), data_set, folder / "whole", compile=COMPILER, **whole), plain)
    divided = {"devices": 2, "strategy": FullySharded()}
    assert_same(steps(beats(), data_set, folder / "divided", compile=COMPILER, **divided), plain)
    assert keys(folder / "whole") == keys(folder / "divided") == keys(folder / "plain")
    thawed = folder / "whole/epoch=001.ckpt"
    divided = {"devices": 2, "strategy": FullySharded()}
    assert_same(steps(beats(), data_set, folder / "on", thawed, **divided), plain[len(plain) // EPOCHS * 2 :])
    with pytest.raises(UserError, match=r"weights of DualBranchCNN cannot be divided among processes: .*cluster/ddp"):
        steps(branches(), data_set, folder / "branches", devices=2, strategy=FullySharded())
