"""Scoring and embedding of many files beside a plain loop: ``python -m tests.benchmarks.throughput``.

The plain loop reads sixteen files with soundfile, resamples them where the encoder needs it, and embeds them in one
pass, in the same precision and with as many threads. Weights are untrained and of full size. The ways take turns,
because the speed of shared cores drifts; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import soundfile
import soxr
import torch

from asd import plugins
from asd.data.clip import Clip, Split
from asd.data.datamodule import ClipDataModule
from asd.inference import Detector
from asd.inference.passes import passes_in
from asd.inference.windows import BATCH
from asd.training.module import AnomalyDetector
from asd.utils.memory import keep_freed_memory
from tests.benchmarks.deploy import SECONDS, detector

RATE = 16000


class _Files(ClipDataModule):
    def __init__(self, paths: list[Path]) -> None:
        super().__init__(SECONDS, batch_size=BATCH)
        self.paths = paths

    def clips(self) -> list[Clip]:
        return [Clip(path, "fan", split=Split.TEST) for path in self.paths]


@torch.inference_mode()
def plain(one: Detector, paths: list[Path]) -> None:
    """Decode, embed and score, a batch after the other."""
    with passes_in(one.precision, one.model.device):
        for at in range(0, len(paths), BATCH):
            clips = [soundfile.read(path, dtype="float32")[0] for path in paths[at : at + BATCH]]
            if one.cut.sample_rate != RATE:
                clips = [soxr.resample(clip, RATE, one.cut.sample_rate) for clip in clips]
            embeddings = one.model.embed(torch.from_numpy(np.stack(clips)))
            one.model.sections(embeddings.float(), 0)


def predict(one: Detector, paths: list[Path]) -> None:
    """As `asd predict`, without writing."""
    assert isinstance(one.model, AnomalyDetector)
    trainer = pl.Trainer(
        accelerator="cpu", precision=one.precision, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.predict(one.model, datamodule=_Files(paths), return_predictions=False)


def one_by_one(one: Detector, paths: list[Path]) -> None:
    """Each file alone."""
    with one.weights_kept():
        for path in paths:
            one.score(path)


def together(one: Detector, paths: list[Path]) -> None:
    """As `asd score FOLDER`."""
    with one.weights_kept():
        for _ in one.score_files(paths):
            pass


WAYS: dict[str, Callable[[Detector, list[Path]], None]] = {
    "plain loop": plain, "file by file": one_by_one, "score": together, "predict": predict
}  # fmt: skip


def main() -> None:
    """Write the clips, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoders", nargs="+", default=["DualBranchCNN", "MobileNet"])
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--give-back", action="store_true", help="freed memory, as programs do by default")
    given = parser.parse_args()
    if not given.give_back:
        keep_freed_memory()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    plugins.load_all()
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        paths = [Path(folder) / f"{number:05d}.wav" for number in range(given.clips)]
        for path in paths:
            soundfile.write(path, random.normal(0, 0.1, round(SECONDS * RATE)), RATE)
        threads = torch.get_num_threads()
        print(f"{given.clips} clips of {SECONDS:g} s, 16 kHz; {given.precision}; threads: {threads}\n")
        print("| encoder | way | clips/s | processor, ms a clip | ratio to the plain loop |\n|---|---|---:|---:|---:|")
        for name in given.encoders:
            one = detector(name, given.precision)
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            spent: dict[str, list[float]] = {way: [] for way in WAYS}
            for way in WAYS:
                WAYS[way](one, paths[:BATCH])
            for _ in range(given.rounds):
                for way, run in WAYS.items():
                    start, before = time.perf_counter(), time.process_time()
                    run(one, paths)
                    spent[way].append(1000 * (time.process_time() - before) / given.clips)
                    found[way].append(given.clips / (time.perf_counter() - start))
            for way, rates in found.items():
                ratios = [rate / bare for rate, bare in zip(rates, found["plain loop"], strict=True)]
                cells = f"{statistics.median(rates):.1f} | {statistics.median(spent[way]):.1f}"
                print(f"| {name} | {way} | {cells} | {statistics.median(ratios):.2f} |", flush=True)


if __name__ == "__main__":
    main()
