"""Listing of many clips: seconds and memory, ``python -m tests.benchmarks.index``.

The folder listing is simulated: names of the challenge's form are made in memory, no file is touched. Each size runs in
a process of its own, whose peak memory is beyond that of a listing of ten clips.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from asd.data.classes import ClassTable
from asd.data.layouts import dcase

PER_MACHINE = 100_000


def names(folder: Path, count: int) -> list[Path]:
    """What a folder with so many clips would list."""
    if folder.name != "train":
        return []
    return [
        folder / f"section_00_source_train_normal_{i:06d}_spd_{i % 7}V_mic_{i % 3}_load_{i % 11}.wav"
        for i in range(count)
    ]


def machines(clips: int) -> Iterator[tuple[str, int]]:
    """Machines of at most 100,000 clips."""
    for number, start in enumerate(range(0, clips, PER_MACHINE)):
        yield f"machine{number:02d}", min(PER_MACHINE, clips - start)


def peak_megabytes() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(clips: int) -> None:
    """List and name the classes in this process; print seconds, megabytes and classes."""
    counts = dict(machines(clips))
    dcase.children = lambda folder: ([], names(folder, counts.get(folder.parent.name, 0)))
    dcase.machine_folders = lambda root, subset: ([root / name for name in counts], [])
    dcase.choose_machines = lambda asked, there, place: set(there)
    Path.is_dir = lambda self: self.name == "train"
    before = peak_megabytes()
    start = time.perf_counter()
    found = dcase.scan("/nowhere")
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    table = ClassTable.build(found)
    labels = [table.label(clip) for clip in found]
    more = time.perf_counter() - start
    print(f"{len(found)} {seconds:.2f} {more:.2f} {peak_megabytes() - before:.0f} {len(table)} {len(labels)}")


def main() -> None:
    """Run every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--one", type=int)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    given = parser.parse_args()
    if given.one is not None:
        return one(given.one)
    print("| clips | listing, s | classes and labels, s | memory, MB | bytes a clip |\n|---:|---:|---:|---:|---:|")
    for size in given.sizes:
        command = [sys.executable, "-m", "tests.benchmarks.index", "--one", str(size)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        clips, seconds, more, memory = int(told[0]), told[1], told[2], float(told[3])
        print(f"| {clips:,} | {seconds} | {more} | {memory:.0f} | {memory * 2**20 / clips:.0f} |")
    return None


if __name__ == "__main__":
    main()
