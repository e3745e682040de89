"""Training speed in clips/s beside a plain PyTorch loop: ``python -m tests.benchmarks.training``.

Both train the same model on the same loader with the same optimizer; the plain loop has no trainer, no logging and no
checks. Rounds alternate, and ratios are of one round, because other load on the machine comes and goes. The last column
is the part of the device's own matrix rate in that precision that training reaches (model FLOPs utilisation): products
and convolutions of the model forward and back, without those of checkpointing, beside a product of large matrices.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F

from asd import plugins
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.data.synthesis.dataset import synthesize
from asd.encoders.base import Encoder
from asd.heads import SubclusterAdaCos
from asd.training.module import AnomalyDetector
from asd.training.optim import OptimizerOptions
from asd.training.warmup import WarmUp
from asd.utils.memory import keep_freed_memory
from tests.benchmarks.encoders import matrix_rate, operations_of_training

SECONDS = 10.0
TYPES = {"32": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class _Clock(pl.Callback):
    """Seconds of the training steps of the last epoch, by the clock `now`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = self.now()

    def on_train_batch_end(self, *args: Any) -> None:
        _wait()
        self.seconds = self.now() - self.start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextlib.contextmanager
def _autocast(precision: str, device: torch.device) -> Iterator[None]:
    if precision == "32":
        yield
    else:
        with torch.autocast(device.type, torch.bfloat16 if precision.startswith("bf16") else torch.float16):
            yield


def build(data: ToyADMOS2, name: str, options: dict[str, Any]) -> AnomalyDetector:
    """An untrained detector with the encoder of that name."""
    torch.manual_seed(0)
    encoder = plugins.resolve(name, Encoder)(**options)
    data.sample_rate = encoder.sample_rate
    detector = AnomalyDetector(encoder, head=SubclusterAdaCos(), optimizer=OptimizerOptions("Adam", 1e-4))
    data.setup("fit")
    detector.build(data.classes.names, sorted({clip.machine_section for clip in data.reference_clips}))
    return detector


def through_asd(
    data: ToyADMOS2, detector: AnomalyDetector, precision: str, now: Callable[[], float], processes: int = 1
) -> float:
    """Clips/s of the second of two epochs, of all processes together."""
    clock = _Clock(now)
    trainer = pl.Trainer(
        max_epochs=2, precision=precision, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[WarmUp(), clock],
        devices=processes, strategy="auto" if processes == 1 else "ddp",
    )  # fmt: skip
    trainer.fit(detector, datamodule=data)
    return len(data.train_dataloader().dataset) / clock.seconds  # type: ignore[arg-type]


def plain_loop(
    data: ToyADMOS2, detector: AnomalyDetector, precision: str, device: torch.device, now: Callable[[], float]
) -> float:
    """Clips/s of the second of two epochs."""
    encoder, adapter, head = (part.to(device).train() for part in (detector.encoder, detector.adapter, detector.head))
    optimizer = torch.optim.Adam(detector.parameters(), 1e-4)
    loader = data.train_dataloader()
    for _ in range(2):
        start = now()
        for batch in loader:
            targets = F.one_hot(batch.label.to(device), len(detector.classes)).float()
            with _autocast(precision, device):
                loss = head(adapter(encoder(batch.waveform.to(device, non_blocking=True))), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _wait()
        seconds = now() - start
    return len(loader.dataset) / seconds


def operations_a_clip(detector: AnomalyDetector, seconds: float) -> float:
    """Floating-point operations of the model for a clip, forward and back."""
    waveform = torch.randn(2, round(seconds * detector.encoder.sample_rate))
    targets = torch.eye(max(2, len(detector.classes)))[:2, : len(detector.classes)]
    return operations_of_training(
        lambda: detector.head(detector.adapter(detector.encoder(waveform)), targets),
        lambda: detector.encoder.spectrogram(waveform),
    ) / len(waveform)


def beside_one_another(name: str, given: argparse.Namespace, threads: int) -> tuple[float, float]:
    """Clips/s of as many processes that know nothing of each other, all together: through asd, and of plain loops."""
    command = [sys.executable, "-m", "tests.benchmarks.training", "--encoder", name, "--rounds", "1"]
    for option in ("clips", "batch_size", "precision"):
        command += [f"--{option.replace('_', '-')}", str(getattr(given, option))]
    command += ["--checkpointing"] * given.checkpointing
    started = [
        subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdout=subprocess.PIPE, text=True
        )
        for _ in range(given.processes)
    ]
    rows = [one.communicate()[0].splitlines()[-1].split(" | ") for one in started]
    return sum(float(row[3]) for row in rows), sum(float(row[4]) for row in rows)


def measure(root: Path, name: str, given: argparse.Namespace) -> None:
    """Train an encoder both ways, and print its line."""
    now = time.process_time if given.processor else time.perf_counter
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = {"gradient_checkpointing": True} if given.checkpointing else {}
    data = ToyADMOS2(str(root), seconds=SECONDS, batch_size=given.batch_size)
    detector = build(data, name, options)
    if given.processes > 1:
        threads = max(1, (os.cpu_count() or 1) // given.processes)
        first = "LOCAL_RANK" not in os.environ  # the others are started by its trainer
        alone = beside_one_another(name, given, threads) if first else (0.0, 0.0)
        torch.set_num_threads(threads)
        speed = through_asd(data, detector, given.precision, now, given.processes)
        if first:
            cells = " | ".join(f"{one:.1f} | {speed / one:.2f}" for one in alone)
            print(f"| {name} | {given.precision} | {given.batch_size} | {speed:.1f} | {cells} |", flush=True)
        return
    rounds = []
    for _ in range(given.rounds):
        asd = through_asd(data, copy.deepcopy(detector), given.precision, now)
        plain = plain_loop(data, copy.deepcopy(detector), given.precision, device, now)
        rounds.append((asd, plain))
    asd, plain, ratio = (
        statistics.median(values) for values in (*zip(*rounds, strict=True), [one / other for one, other in rounds])
    )
    rate = matrix_rate(device, TYPES[given.precision], now)
    share = f"{100 * asd * operations_a_clip(detector, SECONDS) / rate:.0f} %"
    name += " with checkpointing" if given.checkpointing else ""
    print(
        f"| {name} | {given.precision} | {given.batch_size} | {asd:.1f} | {plain:.1f} | {ratio:.2f} | {share} |",
        flush=True,
    )


def main() -> None:
    """Synthesise clips, train both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoder", nargs="+", default=["DualBranchCNN"])
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing of a transformer")
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", default="bf16-mixed", choices=list(TYPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="data-parallel, beside as many that are each alone")
    parser.add_argument("--processor", action="store_true", help="processor time, where other jobs share the machine")
    given = parser.parse_args()
    keep_freed_memory()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = synthesize(
            Path(folder) / "data", ["fan", "bearing"], seconds=SECONDS, train_source=given.clips // 2, train_target=0,
            test=1, supplemental=0,
        )  # fmt: skip
        if given.processes == 1:
            print("| encoder | precision | batch | asd, clips/s | plain loop, clips/s | ratio | of matrix rate |")
            print("|---|---|---:|---:|---:|---:|---:|")
        elif "LOCAL_RANK" not in os.environ:
            print("| encoder | precision | batch | data-parallel, clips/s | alone | ratio | plain loops | ratio |")
            print("|---|---|---:|---:|---:|---:|---:|---:|")
        for name in given.encoder:
            measure(root, name, given)


if __name__ == "__main__":
    main()
