"""An interrupted run goes on as if it had never been interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "--config", CONFIG, "--data", "ToyADMOS2", "--data.init_args.seconds=1",
    "--data.init_args.machines=null", "--data.init_args.batch_size=8",
    "--model.encoder.init_args.seconds=1", "--trainer.accelerator=cpu", "--trainer.max_epochs=4",
    "--trainer.enable_progress_bar=false", "--model.optimizer.schedule=cosine", "--model.optimizer.warmup=0.2",
    "--model.adapter", "asd.encoders.adapter.Adapter", "--model.adapter.init_args.embedding_dim=16",
]  # fmt: skip

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


@pytest.mark.parametrize(
    ("stop", "kill"), [(1, False), (3, True)], ids=["before the thaw, interrupted", "after the thaw, killed"]
)
def test_a_resumed_run_ends_bit_for_bit_as_the_uninterrupted_one(
    here, asd, synthetic: Path, tmp_path: Path, stop: int, kill: bool
) -> None:
    """With nothing drawn at random but the order of the clips."""
    (tmp_path / "stop_callback.py").write_text(STOP)
    common = [*SMALL, "--data.init_args.root", synthetic, "--warmup.epochs=2"]
    here("fit", *common)
    asd(
        "fit", *common, "--trainer.callbacks", "stop_callback.Stop", f"--trainer.callbacks.init_args.epoch={stop}",
        f"--trainer.callbacks.init_args.kill={kill}", cwd=tmp_path, expect=-signal.SIGKILL if kill else 130,
    )  # fmt: skip
    interrupted = last_checkpoint(tmp_path, 1)
    assert torch.load(interrupted, weights_only=True)["epoch"] == stop - 1
    here("fit", *common, "--ckpt_path", interrupted, "--trainer.callbacks=null")
    whole, resumed = (torch.load(last_checkpoint(tmp_path, v), weights_only=True) for v in (0, 2))
    assert whole["global_step"] == resumed["global_step"]
    assert whole["lr_schedulers"][0]["_last_lr"] == resumed["lr_schedulers"][0]["_last_lr"]
    assert whole["state_dict"].keys() == resumed["state_dict"].keys()
    for key, value in whole["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(resumed["state_dict"][key], value), key


def test_ctrl_c_keeps_the_checkpoint_and_exits_with_130(synthetic: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "asd", "fit", *map(str, SMALL), "--data.init_args.root", str(synthetic)]
    with subprocess.Popen(
        [*command, "--trainer.max_epochs=500"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that run in the background of a shell are deaf to it, and so would the program be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        checkpoint = last_checkpoint(tmp_path, 0)
        deadline = time.monotonic() + 120
        while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors[-2000:]
    assert "Traceback" not in errors
    assert torch.load(checkpoint, weights_only=True)["epoch"] >= 0
