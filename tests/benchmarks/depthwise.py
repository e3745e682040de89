"""Training steps with depthwise gradients in float32 and in bfloat16: ``python -m tests.benchmarks.depthwise``.

Processor time of one thread, forward and back, without an optimizer; the two take turns, the ratio is a median.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from asd_plugins.conv_layers import Float32Convolution
from torch import nn

from asd import plugins
from asd.comparison.encoders import choices
from asd.configured import configured
from asd.encoders import Encoder

CASES = {"MobileNet:width=0.4,blocks=11,rows=kept": 10.0, "YAMNet:blocks=9,rows=kept": 2.5}
"""Encoders, and seconds of their clips."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    plugins.load_all()
    torch.set_num_threads(1)
    in_float32 = Float32Convolution.forward
    print("| encoder, clips | float32, ms a clip | bfloat16, ms a clip | bfloat16 over float32 |\n|---|---:|---:|---:|")
    for text, seconds in CASES.items():
        encoder = configured(choices([text])[0].spec, Encoder).train()  # type: ignore[type-abstract]
        waveform = 0.1 * torch.randn(given.batch, round(seconds * encoder.sample_rate))
        spent: dict[str, list[float]] = {"float32": [], "bfloat16": []}
        for turn in range(given.rounds + 1):
            for precision, took in spent.items():
                Float32Convolution.forward = in_float32 if precision == "float32" else nn.Conv2d.forward  # type: ignore[method-assign]
                start = time.process_time()
                with torch.autocast("cpu", torch.bfloat16):
                    out = encoder(waveform)
                out.float().sum().backward()
                if turn:
                    took.append(1000 * (time.process_time() - start) / given.batch)
        ratio = statistics.median(b / a for a, b in zip(*spent.values(), strict=True))
        shown = " | ".join(f"{min(took):.1f}" for took in spent.values())
        print(f"| {text}, {seconds:g} s | {shown} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
