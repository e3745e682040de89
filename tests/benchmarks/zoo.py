"""What each encoder costs: ``python -m tests.benchmarks.zoo``, or with encoders as `asd compare` takes them.

Of clips of 10 s, in batches of 4, by processor time of one thread: clips a second of the forward pass, in float32 and
bfloat16. Each encoder has a process of its own, whose peak memory is told. The graph holds K-means of one machine, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from asd import plugins
from asd.comparison.encoders import choices
from asd.configured import configured
from asd.encoders import Encoder
from asd.inference.export import export
from asd.training.module import AnomalyDetector
from tests.benchmarks.deploy import SECONDS, fitted
from tests.benchmarks.encoders import operations

BATCH = 4
ENCODERS = [
    "DualBranchCNN", "MobileNet:blocks=11,rows=kept", "YAMNet", "AiSFX", "OpenL3", "PANNs", "AST", "ATSTFrame", "BEATs",
    "CED", "Dasheng", "EAT", "FISHER", "PaSST",
]  # fmt: skip


@torch.inference_mode()
def rate(model: AnomalyDetector, precision: torch.dtype, rounds: int) -> float:
    """Clips a second of the processor; the best round."""
    waveform, spent = 0.1 * torch.randn(BATCH, round(SECONDS * model.encoder.sample_rate)), []
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        for _ in range(rounds + 1):
            start = time.process_time()
            model.embed(waveform)
            spent.append(time.process_time() - start)
    return BATCH / min(spent[1:])


def costs(text: str, rounds: int) -> dict[str, float]:
    """Of one encoder."""
    torch.set_num_threads(1)
    encoder = configured(choices([text])[0].spec, Encoder)  # type: ignore[type-abstract]
    found = {"parameters": sum(one.numel() for one in encoder.parameters()) / 1e6}
    one = fitted(encoder, "32")
    model = one.model
    assert isinstance(model, AnomalyDetector)
    for name, precision in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        found[name] = rate(model, precision, rounds)
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    waveform = torch.randn(1, round(SECONDS * model.encoder.sample_rate))
    with torch.no_grad():
        found["macs"] = operations(lambda: model.embed(waveform)) / 2e9
    with tempfile.TemporaryDirectory() as folder:
        found["onnx"] = export(one, Path(folder) / "bundle").megabytes
    return found


def main() -> None:
    """Measure, each encoder in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("encoders", nargs="*", default=ENCODERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", metavar="ENCODER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    plugins.load_all()
    if given.one:
        print(json.dumps(costs(given.one, given.rounds)))
        return
    print("| encoder | parameters, M | GMAC a clip | float32, clips/s | bfloat16, clips/s | peak MB | ONNX, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for text in given.encoders:
        command = [sys.executable, "-m", "tests.benchmarks.zoo", f"--one={text}", f"--rounds={given.rounds}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{text}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        cells = [
            f"{found['parameters']:.2f}", f"{found['macs']:.2f}", f"{found['float32']:.1f}", f"{found['bfloat16']:.1f}",
            f"{found['memory']:.0f}", f"{found['onnx']:.1f}",
        ]  # fmt: skip
        print(f"| {choices([text])[0].name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
