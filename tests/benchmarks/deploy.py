"""Scoring beside the bare forward pass, and a day's stream: ``python -m tests.benchmarks.deploy``.

Detectors have untrained weights and scorers fitted on noise: speed does not depend on what they learned. A stream is
made as it goes, as fast as it is taken.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from asd import plugins
from asd.deploy import Detector
from asd.deploy.monitor import Monitor, Rules
from asd.deploy.stream import Block, Windower
from asd.detector import AnomalyDetector
from asd.encoders.adapter import Adapter
from asd.encoders.base import Encoder
from asd.scoring.bank import Bank
from asd.scoring.kmeans import KMeansScorer

SECONDS = 10.0
NAME = "fan_section_00"


def detector(name: str, precision: str) -> Detector:
    """A fitted detector of an encoder of full size."""
    encoder = plugins.resolve(name, Encoder)()
    model = AnomalyDetector(encoder, Adapter(), scorer=KMeansScorer(k=16)).eval()
    model.build(["a", "b"], [NAME])
    rows = torch.randn(64, model.adapter.scored_dim)
    zeros = torch.zeros(64, dtype=torch.int64)
    model.population.fit(Bank(rows, zeros, zeros.bool(), torch.arange(64), torch.arange(64)))
    config: dict[str, Any] = {"data": {"init_args": {"seconds": SECONDS}}, "trainer": {"precision": precision}}
    return Detector(model, config)


def latencies(run: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of so many calls, after three."""
    for _ in range(3):
        run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(1000 * (time.perf_counter() - start))
    return found


@torch.inference_mode()
def measure(name: str, precision: str, times: int, path: Path) -> str:
    """A row of the table."""
    one = detector(name, precision)
    window = torch.randn(1, one.cut.samples) * 0.1

    def bare() -> None:
        with one._autocast():
            one.model.embed(window)

    plain = latencies(bare, times)
    scored = latencies(lambda: one.score(path), times)
    p50, p95, p99 = (float(np.percentile(scored, q)) for q in (50, 95, 99))
    ratio = statistics.median(scored) / statistics.median(plain)
    cells = [f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", f"{statistics.median(plain):.1f}", f"{ratio:.2f}"]
    return f"| {name} | {precision} | {' | '.join(cells)} | {p50 / 1000 / SECONDS:.4f} |"


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def stream(name: str, precision: str, hours: float) -> None:
    """So many hours of noise through windows, detector and monitor; prints time and memory."""
    one = detector(name, precision)
    population = one.model.population
    monitor = Monitor(float(population.thresholds[0]), population.training_scores(0)[0], one.cut.hop, Rules())
    windower = Windower(one.cut, one.cut.sample_rate)
    random = np.random.default_rng(0)
    minute = (0.1 * random.standard_normal((one.cut.sample_rate * 60, 1))).astype(np.float32)
    start, before, told = time.perf_counter(), 0.0, 0
    for number in range(round(hours * 60)):
        for at, window in windower.push(Block(np.roll(minute, 1000 * number, 0))):
            for _ in monitor.push(at, one.score_windows([window], 0)[0]):
                told += 1
        if number == 10:
            gc.collect()
            before = resident()
    gc.collect()
    spent = time.perf_counter() - start
    print(
        f"{name}, {hours:g} hours: {monitor.windows} windows in {spent:.0f} s, {hours * 3600 / spent:.0f} times real "
        f"time; memory {before:.0f} MB after ten minutes, {resident():.0f} MB at the end; {told} messages"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoders", nargs="+", default=["DualBranchCNN", "MobileNet", "BEATs"])
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--hours", type=float, default=24.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    plugins.load_all()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * 16000)), 16000)
        print("| encoder | precision | p50, ms | p95 | p99 | bare forward, p50 | ratio | real-time factor |")
        print("|---|---|---:|---:|---:|---:|---:|---:|")
        for name in given.encoders:
            print(measure(name, given.precision, given.times if name != "BEATs" else max(5, given.times // 10), path))
    if given.hours:
        print()
        stream(given.encoders[0], given.precision, given.hours)


if __name__ == "__main__":
    main()
