"""A function in several processes that form a group, as ranks of a run do."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
_CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")


def in_ranks(function: Callable[..., T], *arguments: Any, count: int = 2, timeout: float = 120) -> list[T]:
    """What ``function(rank, *arguments)``, of a module, returns on each rank."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / f"{rank}.pt" for rank in range(count)]
        meeting = (Path(folder) / "group").as_uri()
        started = [
            _CONTEXT.Process(target=_run, args=(function, rank, count, meeting, place, arguments))
            for rank, place in enumerate(places)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(timeout)
        hanging = [process for process in started if process.is_alive()]
        for process in hanging:
            process.kill()
            process.join()
        assert not hanging, f"{len(hanging)} of {count} ranks did not end within {timeout} s"
        assert all(process.exitcode == 0 for process in started)
        return [torch.load(place, weights_only=False) for place in places]


def _run(
    function: Callable[..., object], rank: int, count: int, meeting: str, place: Path, arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    torch.save(function(rank, *arguments), place)
    dist.destroy_process_group()
