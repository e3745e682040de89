"""A job of Slurm whose time is up: Slurm's signal, a `scontrol` that ends the job, and its next turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.forked import Forked
from tests.quick import QUICK

COMMON = [
    "--config", "quickstart", "--config", "cluster/slurm", "--trainer.devices=1", "--trainer.num_nodes=1",
    "--trainer.strategy=auto", "--data", "ToyADMOS2", "--data.machines=null", "--data.seconds=1", "--data.batch_size=8",
    "--data.calibration=0", "--model.encoder.seconds=1", "--model.encoder.width=4", "--trainer.max_epochs=3",
    "--trainer.callbacks", "time_is_up.TimeIsUp", *QUICK,
]  # fmt: skip

ONE_TASK = {
    "SLURM_JOB_NAME": "asd", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost",
}  # fmt: skip

TIME_IS_UP = '''
"""Sends Slurm's signal within the second epoch of the first turn."""
import os, signal
from lightning.pytorch import Callback

class TimeIsUp(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.current_epoch == 1 and batch_idx == 1 and "SLURM_RESTART_COUNT" not in os.environ:
            os.kill(os.getpid(), signal.SIGUSR1)
'''

SCONTROL = """#!/bin/sh
echo "$@" >> requeued.txt
kill -TERM $PPID
"""


def turn(job: int, cwd: Path, data: Path, expect: int = 0, **more: str) -> str:
    """A turn of a job of one task; what it says."""
    said = {"SLURM_JOB_ID": str(job), "PATH": f"{cwd / 'bin'}:/usr/bin:/bin", **ONE_TASK, **more}
    return Forked("fit", *COMMON, "--data.root", data, cwd=cwd, **said).ended(expect).stderr.replace(f"{cwd}/", "")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scontrol").write_text(SCONTROL)
    (tmp_path / "bin/scontrol").chmod(0o755)
    (tmp_path / "time_is_up.py").write_text(TIME_IS_UP)
    return tmp_path


def test_a_job_goes_on_in_its_next_turn_and_no_other_job_takes_its_checkpoint(cluster: Path, synthetic: Path) -> None:
    turn(77, cluster, synthetic, expect=130)
    assert (cluster / "requeued.txt").read_text() == "requeue 77\n"
    (left,) = cluster.rglob("hpc_ckpt_*.ckpt")
    assert left.is_relative_to(cluster / "runs/requeue")

    again = {"SLURM_RESTART_COUNT": "1"}
    assert "goes on from" not in turn(78, cluster, synthetic, **again), "another job takes the checkpoint for its own"
    assert f"goes on from epoch 1 of {left.relative_to(cluster)}" in turn(77, cluster, synthetic, **again)
    assert not [*cluster.rglob("hpc_ckpt_*.ckpt")], "nobody goes on with what is done"

    # What was tested are the weights that training ended with, not those of the first turn.
    versions = [cluster / f"runs/quickstart/version_{number}" for number in (1, 2)]
    whole, resumed = (torch.load(one / "checkpoints/last.ckpt", weights_only=True) for one in versions)
    assert resumed["global_step"] == whole["global_step"]
    for path in sorted((versions[0] / "scores").iterdir()):
        assert (versions[1] / "scores" / path.name).read_text() == path.read_text(), path.name
