"""Every benchmark that needs no data, at small size, in one table: ``python -m tests.benchmarks.all --quick``.

What the figures of each are worth at full size, and under which command, stands in RESULTS.md. Without ``--quick`` each
runs with its own defaults, which takes hours.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time

CNN = ["--encoders", "DualBranchCNN", "--precision", "32"]
QUICK: dict[str, list[str]] = {
    "startup": ["--rounds", "1", "--only", "asd --help", "asd score", "asd serve, first answer"],
    "book": [],
    "index": ["--sizes", "1000", "10000"],
    "check": ["--clips", "300"],
    "download": ["--clips", "10", "--rounds", "1"],
    "loading": ["--clips", "64", "--rounds", "1"],
    "attention": ["--tokens", "248", "--batch", "2", "--rounds", "3"],
    "depthwise": ["--rounds", "1", "--batch", "2"],
    "training": ["--clips", "32", "--batch-size", "16", "--rounds", "1", "--precision", "32"],
    "deploy": [*CNN, "--times", "5", "--hours", "0.05"],
    "serve": [*CNN, "--seconds", "2", "--rounds", "1"],
    "scoring": ["--sizes", "1000", "10000", "--queries", "1000"],
    "throughput": [*CNN, "--clips", "64", "--rounds", "1"],
}
"""The benchmarks, and what makes them small."""
MORE = {
    "back_ends": "stored embeddings",
    "challenge": "the challenge's data, or a night",
    "edge": "a run",
    "encoders": "gigabytes of weights in memory",
    "explain": "a run and its data",
    "method": "RealMix",
    "minutes": "recordings and weights",
    "plant": "recordings",
    "plant_day": "a run and mosquitto",
    "realmix": "RealMix",
    "robustness": "the suite, whose tests it counts",
    "verdicts": "six trainings",
    "zoo": "gigabytes of weights in memory",
}
"""What the others need, which are not run here."""
_TELLING = ("ratio", "over bare", "clips/s", "seconds")


def rows(shown: str) -> list[tuple[str, str, str]]:
    """Of the Markdown tables in what was printed: what each line is about, and the figure that tells most."""
    found = []
    header: list[str] = []
    for line in shown.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            header = []
        elif not header:
            header = cells
        elif not re.fullmatch(r"[:\- ]*", "".join(cells)):
            at = next((n for one in _TELLING for n, name in enumerate(header) if one in name), len(header) - 1)
            what = ", ".join(cell for n, cell in enumerate(cells) if n < at and not re.fullmatch(r"[\d.,/ -]+", cell))
            if cells[at]:
                found.append((what or cells[0], header[at], cells[at]))
    return found


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run them one after the other, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="five minutes instead of hours")
    parser.add_argument("--only", nargs="*", choices=QUICK, default=list(QUICK))
    given = parser.parse_args()
    print("| benchmark | of | figure | value |\n|---|---|---|---:|")
    for name in given.only:
        start, before = time.perf_counter(), _processor()
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", *(QUICK[name] if given.quick else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed | exit code | {done.returncode} |", flush=True)
            print(done.stderr[-2000:], file=sys.stderr)
        for what, figure, value in rows(done.stdout):
            print(f"| {name} | {what} | {figure} | {value} |", flush=True)
        spent = {"": time.perf_counter() - start, ", of the processor": _processor() - before}
        for of, value in spent.items():
            print(f"| {name} | all of it | seconds{of} | {value:.0f} |", flush=True)


if __name__ == "__main__":
    main()
