"""`edge.py` of a bundle beside `asd score`: ``python -m tests.benchmarks.edge CHECKPOINT``.

Both are run as commands, in turns, on one file of 10 s and on many; the difference is what a file takes. Memory is the
peak of the process, which counts what this one holds when it starts it: so nothing large is imported here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SECONDS, RATE, FILES = 10.0, 44100, 21
WITHOUT = ("torch", "asd", "lightning", "scipy")
BLOCKED = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({WITHOUT}))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes, and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("checkpoint", type=Path, help="of `asd fit`, or a run's folder")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        for number in range(FILES):
            noise = 0.1 * rng.standard_normal(round(SECONDS * RATE))
            soundfile.write(folder / f"{number}.wav", noise, RATE)
        asd, bundle = [sys.executable, "-m", "asd"], folder / "bundle"
        subprocess.run([*asd, "export", str(given.checkpoint), str(bundle)], check=True, stdout=subprocess.DEVNULL)
        machine = ["--machine", json.loads((bundle / "manifest.json").read_text())["machines"][0]]
        programs = {
            "`asd score`": [*asd, "score", "--json", "--checkpoint", str(given.checkpoint), *machine],
            "`edge.py`": [sys.executable, "-c", BLOCKED, str(bundle / "edge.py"), *machine],
        }
        every = [str(folder / f"{number}.wav") for number in range(FILES)]
        found: dict[str, list[tuple[float, float, float]]] = {program: [] for program in programs}
        for number in range(given.rounds + 1):
            for program, command in programs.items():
                first, memory = measured([*command, every[0]])
                latency = (measured([*command, *every])[0] - first) / (FILES - 1)
                if number:  # the first run reads files that later ones find in memory
                    found[program].append((first, 1000 * latency, memory))
        print("| program | first score, s | each further file, ms | peak memory, MB |\n|---|---:|---:|---:|")
        medians = {
            program: [statistics.median(one) for one in zip(*rows, strict=True)] for program, rows in found.items()
        }
        for program, (first, latency, memory) in medians.items():
            print(f"| {program} | {first:.2f} | {latency:.0f} | {memory:.0f} |")
        theirs, ours = medians.values()
        ratios = [f"{one / other:.2f}" for one, other in zip(ours, theirs, strict=True)]
        print(f"| ratio | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
