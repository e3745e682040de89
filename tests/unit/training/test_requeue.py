"""What a job of Slurm leaves for its next turn is its own, and is gone when training has ended."""

from __future__ import annotations

import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest

from asd.training import requeue

TASK = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "asd", "SLURM_JOB_ID": "77"}


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["asd", "fit", "--config", "quickstart"])
    return monkeypatch


def test_who_is_no_job_has_no_such_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert requeue.folder(None) is None


def test_the_next_turn_finds_it_and_nobody_else_does(job: pytest.MonkeyPatch) -> None:
    first = requeue.folder(None)
    assert first is not None and first.parent == Path("runs/requeue")
    job.setenv("SLURM_RESTART_COUNT", "1")
    assert requeue.folder(None) == first
    job.setattr(sys, "argv", [*sys.argv, "--seed_everything", "2"])
    others = [requeue.folder(None)]
    job.setenv("SLURM_JOB_ID", "78")
    others.append(requeue.folder(None))
    for task in ("1", "2"):
        job.setenv("SLURM_ARRAY_JOB_ID", "70")
        job.setenv("SLURM_ARRAY_TASK_ID", task)
        others.append(requeue.folder(None))
    assert len({first, *others}) == 5
    assert requeue.folder("/scratch").parent == Path("/scratch/requeue")


def test_what_is_spent_goes_and_a_folder_of_ones_own_stays_as_it_is(job: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in (requeue.folder(tmp_path), tmp_path):
        place.mkdir(parents=True, exist_ok=True)
        (place / "hpc_ckpt_1.ckpt").touch()
        job.delenv("SLURM_NTASKS", raising=False)  # no process group is needed to look
        requeue.spend(pl.Trainer(default_root_dir=place, logger=False, accelerator="cpu", enable_checkpointing=False))
        assert place.exists() == (place == tmp_path)
    assert (tmp_path / "hpc_ckpt_1.ckpt").is_file()
