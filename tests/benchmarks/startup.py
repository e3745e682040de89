"""How long commands take to answer, beside ``import torch`` in the same round: ``python -m tests.benchmarks.startup``.

Seconds of the processor, which other work on the machine hardly changes, and of the clock; medians. The detector is a
small dual-branch CNN, the sound a few clips of a quarter of a second: what is timed is the start.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from asd.testing.tiny import write_dataset

ASD = [sys.executable, "-m", "asd"]
TORCH = "import torch"


def commands(folder: Path, only: list[str]) -> dict[str, list[str]]:
    """What is timed, on a data set and a run that are made for it; all, or those beside `import torch`."""
    data = write_dataset(folder / "data", machines=["fan"])
    fit = [
        *ASD, "fit", "--config", "quickstart", "--data", "ToyADMOS2", "--data.machines", "null",
        "--data.root", str(data), "--data.seconds", "0.25", "--model.encoder.seconds", "0.25",
        "--model.encoder.width", "4",
        "--trainer.max_epochs", "1", "--trainer.precision", "32", "--outputs.pictures", "false",
        "--trainer.logger.save_dir", str(folder / "runs"), "--trainer.logger.name", "run",
    ]  # fmt: skip
    subprocess.run(fit, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = str(folder / "runs/run/version_0")
    clips = data / "dev_data/raw/fan"
    clip, detector = str(min((clips / "test").iterdir())), ["--checkpoint", run, "--machine", "fan"]
    every = {
        "python -c pass": [sys.executable, "-c", "pass"],
        TORCH: [sys.executable, "-c", TORCH],
        "import lightning.pytorch": [sys.executable, "-c", "import lightning.pytorch"],
        "asd --help": [*ASD, "--help"],
        "asd fit --help": [*ASD, "fit", "--help"],
        "asd fit --help-all": [*ASD, "fit", "--help-all"],
        "asd encoders": [*ASD, "encoders"],
        "asd data check": [*ASD, "data", "check", str(data)],
        "asd evaluate": [*ASD, "evaluate", f"{run}/scores"],
        "asd rescore, to the table": [*ASD, "rescore", run, "--scorer", "NeighboursScorer"],
        "asd rescore, to the end": [*ASD, "rescore", run, "--scorer", "NeighboursScorer"],
        "asd score": [*ASD, "score", clip, *detector],
        "asd explain": [*ASD, "explain", clip, *detector],
        "asd enroll": [*ASD, "enroll", run, str(clips / "train"), "--machine", "new", "--out", f"{folder}/new.ckpt"],
        "asd watch": [*ASD, "watch", str(clips / "test"), *detector, "--once", "--event", "1/1"],
        "asd serve, first answer": [*ASD, "serve", run, "--port", "0"],
    }
    chosen = {name: every[name] for name in (TORCH, *only)} if only else every
    if any("rescore" in name for name in chosen):
        store = [*ASD, "predict", "--ckpt_path", f"{run}/checkpoints/last.ckpt"]
        subprocess.run(store, check=True, capture_output=True)
    return chosen


def seconds(command: list[str], to_first_line: bool) -> tuple[float, float]:
    """Processor and clock of one run, or until it says something; of a service, until its first answer."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if to_first_line:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said, command
        if "serve" in command:
            urllib.request.urlopen(f"{said.rstrip('/')}/health").read()
        spent = time.perf_counter() - start
        process.kill()
        process.wait()
    else:
        code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
        assert code in (0, 1), command
        spent = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, spent


def main() -> None:
    """Time every command, one after the other in each round, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], metavar="COMMAND", help="such as 'asd score'")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = commands(Path(folder), given.only)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
        for turn in range(given.rounds + 1):
            for name, command in every.items():
                Path(folder, "new.ckpt").unlink(missing_ok=True)
                one = seconds(command, "first answer" in name or "to the table" in name)
                if turn:  # the first run reads files that later ones find in memory
                    found[name].append(one)
    torch = statistics.median(cpu for cpu, _ in found[TORCH])
    print(f"| command | clock, s | processor, s | ratio to {TORCH} |\n|---|---:|---:|---:|")
    for name, times in found.items():
        cpu, clock = (statistics.median(values) for values in zip(*times, strict=True))
        print(f"| `{name}` | {clock:.2f} | {cpu:.2f} | {cpu / torch:.2f} |")


if __name__ == "__main__":
    main()
