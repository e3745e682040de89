"""A job of Slurm whose time is up: where it leaves its checkpoint for its next turn, and when that is spent.

Lightning writes the checkpoint into the trainer's folder, and whatever trains or tests there afterwards takes it up
unasked: other jobs, other commands, and the test that follows the training, whose weights it replaces.
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.plugins.environments import SLURMEnvironment

_CHECKPOINTS = "hpc_ckpt_*.ckpt"
_FOLDER = "requeue"
_OF_ARRAY = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def folder(root: Path | str | None) -> Path | None:
    """The trainer's folder, of this job and command alone; ``None``: this is no job of Slurm.

    Args:
        root: Where it lies; ``None``: in ``runs``.
    """
    if not SLURMEnvironment.detect():
        return None
    # A job may run several commands, each of which is run again in its next turn.
    command = zlib.crc32("\0".join(sys.argv[1:]).encode(errors="surrogateescape"))
    return Path(root or "runs", _FOLDER, f"{_job()}-{command:08x}")


def _job() -> str:
    if os.environ.keys() >= set(_OF_ARRAY):
        return "_".join(os.environ[name] for name in _OF_ARRAY)
    return os.environ["SLURM_JOB_ID"]


def spend(trainer: pl.Trainer) -> None:
    """Training has ended: what follows is of its weights. Every process has to call it."""
    place = Path(str(trainer.default_root_dir))
    if place.parent.name != _FOLDER:
        return
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        for path in place.glob(_CHECKPOINTS):
            path.unlink()
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    trainer.strategy.barrier()
