"""Encoders beside the bare module: ``python -m tests.benchmarks.encoders``.

Front ends stand beside torchaudio's clip-by-clip computation; embedding through the detector beside the plain module
and a mean; and the memory of a training step is that of a process of its own, with and without checkpointing. On a GPU
also the share of the card's own matrix rate in bfloat16, measured in the same run, that embedding and training reach,
what compilation gives, and how far scores are from those of the CPU. ``--profile``: where the time of a step goes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

import torch
import torchaudio
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asd import plugins
from asd.encoders.base import Encoder
from asd.encoders.frontends import KaldiFilterBank, LogMel
from asd.scoring.kmeans import KMeansScorer
from asd.training.module import AnomalyDetector
from asd.training.optim import DEFAULT_OPTIMIZER, build_optimizer, parameter_groups
from asd.utils.memory import keep_freed_memory

NAMES = ("BEATs", "Dasheng")
RATE = 16000


def seconds(call: Callable[[], object], rounds: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Median time of a call by the clock `now`, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        _wait()
        start = now()
        call()
        _wait()
        times.append(now() - start)
    return statistics.median(times[1:])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def front_ends(clips: Tensor, rounds: int) -> None:
    """Batched front ends beside torchaudio, one clip after the other."""
    bank, mel = KaldiFilterBank(), LogMel()
    spectrogram = torchaudio.transforms.MelSpectrogram(RATE, 512, hop_length=160, n_mels=64, f_max=8000.0)
    decibels = torchaudio.transforms.AmplitudeToDB(top_db=120)

    def kaldi() -> None:
        for clip in clips:
            torchaudio.compliance.kaldi.fbank(clip[None], num_mel_bins=128, window_type="povey", dither=0.0)

    def mels() -> None:
        for clip in clips:
            decibels(spectrogram(clip))

    print("| front end | asd, clips/s | torchaudio clip by clip, clips/s | ratio |\n|---|---:|---:|---:|")
    for name, ours, theirs in (("Kaldi filter bank", bank, kaldi), ("log-mel", mel, mels)):
        one, other = len(clips) / seconds(lambda: ours(clips), rounds), len(clips) / seconds(theirs, rounds)  # noqa: B023
        print(f"| {name} | {one:.0f} | {other:.0f} | {one / other:.2f} |")


def forward(device: torch.device, clips: Tensor, rounds: int) -> None:
    """Embedding through the detector beside the plain module."""
    print("\n| encoder | precision | asd, clips/s | plain module, clips/s | ratio | share of matrix rate |")
    print("|---|---|---:|---:|---:|---:|")
    for name in NAMES:
        detector = AnomalyDetector(plugins.resolve(name, Encoder)()).to(device).eval()
        encoder, waveform = detector.encoder, clips.to(device)
        for precision, dtype in (("32", torch.float32), ("bf16", torch.bfloat16)):
            with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=precision != "32"):
                one = len(clips) / seconds(lambda: detector.embed(waveform), rounds)  # noqa: B023
                other = len(clips) / seconds(lambda: encoder(waveform)[:, -1].mean(1), rounds)  # noqa: B023
                done = operations(lambda: detector.embed(waveform)) / len(clips)  # noqa: B023
            share = f"{100 * done * one / matrix_rate(device, dtype):.0f} %"
            print(f"| {name} | {precision} | {one:.2f} | {other:.2f} | {one / other:.2f} | {share} |", flush=True)


def training_step(name: str, batch: int, checkpointing: bool, compiled: bool) -> dict[str, float]:
    """Seconds and peak gigabytes of a training step in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = plugins.resolve(name, Encoder)(gradient_checkpointing=checkpointing).to(device).train()
    if compiled:
        encoder.compile_trunk()
    optimizer = torch.optim.AdamW(encoder.parameters())
    waveform = torch.randn(batch, 10 * RATE, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = encoder(waveform).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    taken = seconds(step, 5 if device.type == "cuda" else 1)
    if device.type == "cuda":
        gigabytes = torch.cuda.max_memory_allocated() / 1e9

        done = operations_of_training(lambda: encoder(waveform), lambda: encoder.spectrogram(waveform))
        return {"seconds": taken, "gigabytes": gigabytes, "rate": done / matrix_rate(device, torch.bfloat16)}
    return {"seconds": taken, "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def operations(call: Callable[[], object]) -> float:
    """Floating-point operations of the products and convolutions of a call, whichever kernels do them."""
    # Counters know some fused kernels of attention and not others, and what those of GPUs compute twice is no gain.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


@torch.no_grad()
def operations_of_training(forward: Callable[[], object], front: Callable[[], object]) -> float:
    """Those of a pass and of its gradients, which take twice as many behind the front end.

    They are not counted: torch's count of the gradients of grouped convolutions is too high by the number of groups.
    """
    return 3 * operations(forward) - 2 * operations(front)


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype, now: Callable[[], float] = time.perf_counter) -> float:
    """Operations a second of the device's own product of matrices in a precision."""
    size, rounds = (8192, 20) if device.type == "cuda" else (1024, 10)
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / seconds(lambda: matrix @ matrix, rounds, now)


def devices(device: torch.device, clips: Tensor) -> None:
    """Scores of the device beside those of the CPU, in float32."""
    print(f"\n| encoder | largest difference of a score on {device.type}, part of it |\n|---|---:|")
    for name in NAMES:
        detector = AnomalyDetector(plugins.resolve(name, Encoder)()).eval()
        scorer = KMeansScorer(2)
        with torch.inference_mode():
            here = detector.embed(clips)
            scorer.fit(here[::2], torch.zeros(len(here[::2]), dtype=torch.bool))
            expected, found = scorer(here), scorer(detector.to(device).embed(clips.to(device)).cpu())
            apart = ((found - expected).abs() / expected.abs().clamp_min(1e-3))[1::2].max().item()
        print(f"| {name} | {apart:.1e}{'' if apart < 1e-3 else ', MORE THAN 1e-3'} |", flush=True)


def profile(name: str, batch: int) -> None:
    """Where the time of a training step goes: the ten operations that take most of it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = AnomalyDetector(plugins.resolve(name, Encoder)()).to(device).train()
    detector.build([str(number) for number in range(20)], [])
    groups = parameter_groups(detector.encoder, [detector.adapter, detector.head], DEFAULT_OPTIMIZER)
    optimizer = build_optimizer(groups, DEFAULT_OPTIMIZER)
    waveform, targets = torch.randn(batch, 10 * RATE, device=device), torch.eye(20, device=device)[:batch]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = detector.head(detector.adapter(detector.encoder(waveform)), targets)
        loss.backward()
        optimizer.step()

    step()
    with torch.profiler.profile() as profiled:
        step()
    on = "device" if device.type == "cuda" else "cpu"
    rows = [(getattr(one, f"self_{on}_time_total"), one) for one in profiled.key_averages()]
    whole = sum(taken for taken, _ in rows)
    print(f"\n| {name}, batch {batch}, {device.type} | calls | share of the time |\n|---|---:|---:|")
    for taken, one in sorted(rows, key=lambda row: -row[0])[:10]:
        print(f"| {one.key} | {one.count} | {100 * taken / whole:.1f} % |")


def training(batch: int) -> None:
    """Time and memory of a training step, each in a process of its own."""
    print(f"\n| encoder, batch {batch}, bf16 | checkpointing | compiled | clips/s | peak GB | share of matrix rate |")
    print("|---|---|---|---:|---:|---:|")
    for name in NAMES:
        for compiled in (False, True) if torch.cuda.is_available() else (False,):
            for checkpointing in (False, True):
                options = [f"--step={name}", f"--batch={batch}", *["--checkpointing"] * checkpointing]
                options += ["--compiled"] * compiled
                done = subprocess.run(
                    [sys.executable, "-m", "tests.benchmarks.encoders", *options], check=True, stdout=subprocess.PIPE
                )
                found = json.loads(done.stdout)
                share = f"{100 * found['rate'] / found['seconds']:.0f} %" if "rate" in found else "-"
                print(
                    f"| {name} | {'on' if checkpointing else 'off'} | {'yes' if compiled else 'no'} | "
                    f"{batch / found['seconds']:.2f} | {found['gigabytes']:.2f} | {share} |",
                    flush=True,
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=32 if torch.cuda.is_available() else 4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", choices=NAMES, help="one training step alone, as JSON")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--profile", metavar="ENCODER", help="where the time of a training step goes")
    given = parser.parse_args()
    torch.manual_seed(0)
    if given.step:
        keep_freed_memory()  # as `asd fit` does
        print(json.dumps(training_step(given.step, given.batch, given.checkpointing, given.compiled)))
        return
    if given.profile:
        profile(given.profile, given.batch)
        return
    clips = 0.1 * torch.randn(given.batch, 10 * RATE)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    front_ends(0.1 * torch.randn(32, 10 * RATE), given.rounds)
    forward(device, clips, given.rounds)
    devices(device, clips[:4])
    training(given.batch)


if __name__ == "__main__":
    main()
