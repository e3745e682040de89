"""Seconds until commands answer, beside the bare imports: ``python -m tests.benchmarks.startup``."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

ASD = [sys.executable, "-m", "asd"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "asd --help": [*ASD, "--help"],
    "asd --version": [*ASD, "--version"],
    "import torch": [sys.executable, "-c", "import torch"],
    "asd encoders": [*ASD, "encoders"],
    "import lightning.pytorch": [sys.executable, "-c", "import lightning.pytorch"],
    "import lightning.pytorch.cli": [sys.executable, "-c", "import lightning.pytorch.cli"],
    "asd fit --help": [*ASD, "fit", "--help"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time every command, one after the other in each round, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():  # the first run reads files that later ones find in memory
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    print("| command | seconds |\n|---|---:|")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found):.2f} |")


if __name__ == "__main__":
    main()
