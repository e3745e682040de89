"""`asd data check` on many clips of noise: ``python -m tests.benchmarks.check``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def main() -> None:
    """Write the clips, check them, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "dev_data/raw/fan/train")
        folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        for number in range(given.clips):
            samples = random.normal(0, 3000, round(given.seconds * RATE)).astype(np.int16)
            soundfile.write(folder / f"section_00_source_train_normal_{number:05d}_n_A.wav", samples, RATE)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "asd", "data", "check", root], check=True, capture_output=True, text=True
        )
        spent = time.perf_counter() - start
    print(done.stdout.splitlines()[-1])
    print(f"\n| clips | s | clips/s |\n|---:|---:|---:|\n| {given.clips:,} | {spent:.1f} | {given.clips / spent:.0f} |")


if __name__ == "__main__":
    main()
