"""Ways to score beside the bare forward pass, and a day's stream: ``python -m tests.benchmarks.deploy``.

Detectors have untrained weights and scorers fitted on noise: speed does not depend on what they learned. A stream is
made as it goes, as fast as it is taken.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile
import torch

from asd import plugins
from asd.encoders.adapter import Adapter
from asd.encoders.base import Encoder
from asd.inference import Detector
from asd.inference.export import export
from asd.inference.monitor import Monitor, Rules
from asd.inference.passes import passes_in
from asd.inference.stream import Block
from asd.inference.windower import Windower
from asd.scoring.kmeans import KMeansScorer
from asd.scoring.reference_bank import Bank
from asd.training.module import AnomalyDetector

SECONDS = 10.0
NAME = "fan_section_00"


def detector(name: str, precision: str, tiny: bool = False) -> Detector:
    """A fitted detector of an encoder of full size, or of a tiny one."""
    kind = plugins.resolve(name, Encoder)
    return fitted(kind.tiny() if tiny else kind(), precision)


def fitted(encoder: Encoder, precision: str) -> Detector:
    """A detector of it, fitted on noise."""
    model = AnomalyDetector(encoder, Adapter(), scorer=KMeansScorer(k=16)).eval()
    model.build(["a", "b"], [NAME])
    rows = torch.randn(64, model.adapter.scored_dim)
    zeros = torch.zeros(64, dtype=torch.int64)
    model.sections.fit(Bank(rows, zeros, zeros.bool(), torch.arange(64), torch.arange(64)))
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


def measure(name: str, precision: str, times: int, folder: Path) -> None:
    """Print a row for each way to score a clip, beside the bare forward pass."""
    one = detector(name, precision)
    path = folder / "clip.wav"
    window = torch.randn(1, one.cut.samples) * 0.1
    sections = one.model.sections
    monitor = Monitor(float(sections.thresholds[0]), sections.training_scores(0)[0], one.cut.hop, Rules())
    windower = Windower(one.cut, one.cut.sample_rate)
    block = Block((0.1 * np.random.default_rng(0).standard_normal((one.cut.samples, 1))).astype(np.float32))

    @torch.inference_mode()
    def bare() -> None:
        with passes_in(one.precision, one.model.device):
            one.model.embed(window)

    def watch() -> None:
        for at, part in windower.push(block):
            list(monitor.push(at, one.score_windows([part], 0)[0]))

    ways: dict[str, Callable[[], object]] = {
        "bare forward": bare, "score": lambda: one.score(path), "watch": watch
    }  # fmt: skip
    bundle = export(detector(name, "32"), folder / name).folder
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: window.numpy()}
    ways["onnxruntime, float32"] = lambda: session.run(None, given)
    for way, run in ways.items():
        # In turns, because the speed of a core drifts.
        plain, found = in_turns(bare, run, times)
        p50, p95, p99 = (float(np.percentile(found, q)) for q in (50, 95, 99))
        ratio = p50 / statistics.median(plain)
        cells = [f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", f"{ratio:.2f}", f"{p50 / 1000 / SECONDS:.4f}"]
        print(f"| {name} | {way} | {' | '.join(cells)} |", flush=True)


def in_turns(one: Callable[[], object], other: Callable[[], object], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each of so many calls of two functions, after three."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(times + 3):
        for run, kept in zip((one, other), found, strict=True):
            start = time.perf_counter()
            run()
            if number >= 3:
                kept.append(1000 * (time.perf_counter() - start))
    return found


def cold_start(checkpoint: Path, path: Path) -> None:
    """Seconds from nothing to a score on the screen, five times."""
    command = [sys.executable, "-m", "asd", "score", str(path), "--checkpoint", str(checkpoint)]
    machine = Detector.load(checkpoint).machines[0]
    found = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*command, "--machine", machine], check=False, capture_output=True)
        found.append(time.perf_counter() - start)
    print(f"\nCold start of `asd score` on one file: {statistics.median(found):.1f} s.")


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def stream(name: str, precision: str, hours: float) -> None:
    """So many hours of noise through windows, detector and monitor; prints time and memory."""
    one = detector(name, precision)
    sections = one.model.sections
    monitor = Monitor(float(sections.thresholds[0]), sections.training_scores(0)[0], one.cut.hop, Rules())
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
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, help="of a run: adds the cold start of `asd score`")
    parser.add_argument("--hours", type=float, default=24.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    plugins.load_all()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * 16000))
        soundfile.write(folder / "clip.wav", noise, 16000)
        print("| encoder | way | p50, ms | p95 | p99 | over bare | real-time factor |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for encoder in given.encoders:
            times = given.times if encoder != "BEATs" else max(20, given.times // 10)
            measure(encoder, given.precision, times, folder)
        if given.checkpoint is not None:
            cold_start(given.checkpoint, folder / "clip.wav")
    if given.hours:
        print()
        stream(given.encoders[0], given.precision, given.hours)


if __name__ == "__main__":
    main()
