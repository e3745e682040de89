"""Speed of data loading in clips/s, as a Markdown table: ``python -m tests.benchmarks.loading``.

The first epoch stands beside bare soundfile reads of the same files, a cached epoch beside copies of a float32 tensor
that holds all clips, through a loader with as many workers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.data.dataset import as_is

RATE = 16000


class _Files(ClipDataModule):
    def __init__(self, paths: Sequence[Path], seconds: float, batch_size: int, workers: int, **options: Any) -> None:
        super().__init__(seconds, batch_size, workers, cache_gb=64, **options)
        self.paths = paths

    def clips(self) -> list[Clip]:
        return [Clip(path, "fan") for path in self.paths]


class _Copies(Dataset[Tensor]):
    def __init__(self, clips: Tensor) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, rows: list[int]) -> Tensor:
        return self.clips[rows]


def clips_per_second(clips: int, iterable: Iterable[object]) -> float:
    """Go through `iterable` once."""
    start = time.perf_counter()
    for _ in iterable:
        pass
    return clips / (time.perf_counter() - start)


def measure(paths: list[Path], seconds: float, batch_size: int) -> dict[str, float]:
    """One round of all measurements, clips/s by name."""
    found = {
        "soundfile.read, float32": clips_per_second(len(paths), (soundfile.read(p, dtype="float32") for p in paths))
    }
    copies = _Copies(torch.randn(len(paths), round(seconds * RATE)))
    for workers in (0, 1, 2):
        data = _Files(paths, seconds, batch_size, workers)
        data.setup("fit")
        loader = data.train_dataloader()
        found[f"first epoch, {workers} workers"] = clips_per_second(len(paths), loader)
        found[f"cached epoch, {workers} workers"] = clips_per_second(len(paths), loader)
        plain = DataLoader(
            copies, batch_size, shuffle=True, num_workers=workers, collate_fn=as_is, persistent_workers=workers > 0
        )
        for _ in range(2):  # workers start in the first epoch
            found[f"tensor copies, {workers} workers"] = clips_per_second(len(paths), plain)
        with tempfile.TemporaryDirectory() as folder:
            data = _Files(paths, seconds, batch_size, workers, disk_cache=folder)
            start = time.perf_counter()
            data.setup("fit")
            if workers == 0:
                found["disk cache, written"] = len(paths) / (time.perf_counter() - start)
            loader = data.train_dataloader()
            found[f"first epoch from disk cache, {workers} workers"] = clips_per_second(len(paths), loader)
            found[f"epoch from disk cache, {workers} workers"] = clips_per_second(len(paths), loader)
    return found


def table(rounds: list[dict[str, float]]) -> Iterable[str]:
    """Medians over the rounds, of each round's ratio too: other load on the machine comes and goes."""

    def median(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(value, rounds))

    yield "| what | clips/s | beside | ratio |"
    yield "|---|---:|---|---:|"
    for name in rounds[0]:
        beside = ""
        if name.startswith("first epoch,") or name.startswith("disk"):
            beside = "soundfile.read, float32"
        elif "epoch" in name:
            beside = f"tensor copies,{name.split(',')[1]}"
        ratio = f"{median(lambda r: r[name] / r[beside]):.2f}" if beside else ""  # noqa: B023 - called at once
        yield f"| {name} | {median(lambda r: r[name]):.0f} | {beside} | {ratio} |"  # noqa: B023


def main() -> None:
    """Write the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        paths = [Path(folder) / f"{number:05d}.wav" for number in range(given.clips)]
        for path in paths:
            soundfile.write(path, random.normal(0, 0.1, round(given.seconds * RATE)), RATE)
        rounds = [measure(paths, given.seconds, given.batch_size) for _ in range(given.rounds)]
    print(f"{given.clips} clips of {given.seconds:g} s, 16 kHz, 16 bits; batches of {given.batch_size}; one thread\n")
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
