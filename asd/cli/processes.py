"""How a run of several processes ends where one of them fails: with the message of that one last, and its exit code."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import lightning.pytorch as pl
import torch.distributed as dist

from asd.training.lightning_seams import on_failed_child

_PATIENCE_SECONDS = 10.0
_FAULT = 70


def watch_children() -> None:
    """End this process with the exit code of one that it started, where that one fails while this one waits for it."""
    on_failed_child(lambda started: _FAULT if (code := _ended(started)) is None else code)


def exit_code(trainer: pl.Trainer, error: BaseException) -> int | None:
    """The code to end with, without a word, because another process failed and said why; ``None``: it was this one.

    The processes that this one started are ended.
    """
    started: Sequence[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
    if not _lost_another(error):
        _ended(started)
        return None
    for process in started:
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            break
    return _ended(started) if started else _FAULT


def _lost_another(error: BaseException) -> bool:
    """Whether an error tells that another process is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).casefold())


def _ended(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """End processes; the exit code of one that failed before, that of a mistake of the user's first."""
    codes = [code for code in (process.poll() for process in processes) if code is not None and code > 0]
    for process in processes:
        process.kill()
    return min(codes, default=None)
