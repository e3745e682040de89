"""An interrupted run goes on as if it had never been interrupted."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.forked import Forked, free_port, ranks
from tests.integration.test_resume_in_full import differences
from tests.quick import QUICK

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "--config", CONFIG, "--data", "ToyADMOS2", "--data.init_args.seconds=0.75",
    "--data.init_args.machines=null", "--data.init_args.batch_size=8",
    "--data.init_args.noise_mix", "NoiseMix", "--model.mixup", "Mixup",
    "--model.exchange", "FeatureExchange",
    "--model.encoder.init_args.seconds=0.75", "--model.encoder.init_args.width=4",
    "--model.encoder.init_args.augment", "SpecAugment",
    *QUICK, "--trainer.max_epochs=4", "--model.optimizer.schedule=cosine", "--model.optimizer.warmup=0.2",
    "--model.adapter", "Adapter", "--model.adapter.init_args.embedding_dim=16", "--model.adapter.init_args.dropout=0.2",
    "--warmup.epochs=2",
]  # fmt: skip

STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")

STOP = '''
"""Stops a run at the start of an epoch, as Ctrl-C does, or kills it."""
import os, signal
from lightning.pytorch import Callback

class Stop(Callback):
    def __init__(self, epoch: int, kill: bool) -> None:
        self.epoch, self.kill = epoch, kill

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
'''


def last_checkpoint(cwd: Path, version: int) -> Path:
    return cwd / f"runs/quickstart/version_{version}/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def whole(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last checkpoint of the run that nothing interrupts."""
    cwd = tmp_path_factory.mktemp("whole")
    Forked("fit", *SMALL, "--data.init_args.root", synthetic, cwd=cwd).ended()
    content: dict[str, Any] = torch.load(last_checkpoint(cwd, 0), weights_only=True)
    return content


@pytest.mark.parametrize(
    ("stop", "kill"), [(1, False), (3, True)], ids=["before the thaw, interrupted", "after the thaw, killed"]
)
def test_a_resumed_run_ends_bit_for_bit_as_the_uninterrupted_one(
    synthetic: Path, tmp_path: Path, whole: dict[str, Any], stop: int, kill: bool
) -> None:
    (tmp_path / "stop_callback.py").write_text(STOP)
    common = [*SMALL, "--data.init_args.root", synthetic]
    Forked(
        "fit", *common, "--trainer.callbacks", "stop_callback.Stop", f"--trainer.callbacks.init_args.epoch={stop}",
        f"--trainer.callbacks.init_args.kill={kill}", cwd=tmp_path,
    ).ended(expect=-signal.SIGKILL if kill else 130)  # fmt: skip
    interrupted = last_checkpoint(tmp_path, 0)
    assert torch.load(interrupted, weights_only=True)["epoch"] == stop - 1
    again = Forked("fit", *common, "--ckpt_path", interrupted, "--trainer.callbacks=null", cwd=tmp_path).ended()
    assert f"goes on from epoch {stop} of {interrupted}, in runs/quickstart/version_1" in again.stderr
    resumed = torch.load(last_checkpoint(tmp_path, 1), weights_only=True)
    assert not differences({key: whole[key] for key in STATE}, {key: resumed[key] for key in STATE})


def test_two_processes_that_are_killed_go_on_as_if_they_had_not_been(synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "stop_callback.py").write_text(STOP)
    common = [*SMALL, "--data.init_args.root", synthetic, "--trainer.devices=2", "--trainer.strategy=ddp"]
    common += ["--data.init_args.machines=[fan]", "--data.init_args.balance=class", "--warmup.epochs=1"]
    stop = ["--trainer.callbacks", "stop_callback.Stop", "--trainer.callbacks.init_args.epoch=2"]

    def both(*more: object, expect: int = 0) -> None:
        started = [Forked("fit", *common, *more, cwd=tmp_path, **rank) for rank in ranks(2, free_port())]
        for one in started:
            one.ended(expect=expect)

    both("--trainer.max_epochs=3")
    both("--trainer.max_epochs=3", *stop, "--trainer.callbacks.init_args.kill=true", expect=-signal.SIGKILL)
    both("--trainer.max_epochs=3", "--ckpt_path", last_checkpoint(tmp_path, 1), "--trainer.callbacks=null")
    last, resumed = (torch.load(last_checkpoint(tmp_path, version), weights_only=True) for version in (0, 2))
    assert not differences({key: last[key] for key in STATE}, {key: resumed[key] for key in STATE})


def test_ctrl_c_keeps_the_checkpoint_and_exits_with_130(synthetic: Path, tmp_path: Path) -> None:
    run = Forked("fit", *SMALL, "--data.init_args.root", synthetic, "--trainer.max_epochs=500", cwd=tmp_path)
    checkpoint = last_checkpoint(tmp_path, 0)
    deadline = time.monotonic() + 120
    while not checkpoint.is_file() and run.running and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send(signal.SIGINT)
    assert "Traceback" not in run.ended(expect=130).stderr
    assert torch.load(checkpoint, weights_only=True)["epoch"] >= 0
