"""Whether explanations point where a fault is: ``python -m tests.benchmarks.explain RUN DATA``.

Faults of known band and time are added to normal training clips, each as quietly as makes the score exceed 99 % of the
held-out normal scores. The band, or the span of time, that raises the score most should be the fault's.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asd.inference import Detector
from asd.inference.explain import BANDS, band_edges, span_edges
from asd.inference.windows import windows_of

LEVELS_DB = (-20, -14, -8, -2, 4, 10, 16)
KINDS = {"tone": (True, False), "noise": (True, False), "burst": (True, True), "clicks": (False, True)}
Signal = NDArray[np.float64]


def fault(
    kind: str, samples: int, rate: int, band: tuple[float, float], span: tuple[float, float], rng: np.random.Generator
) -> Signal:
    """A fault's sound ``(T,)`` of unit deviation while it sounds."""
    seconds = np.arange(samples) / rate
    sounding = (seconds >= span[0]) & (seconds < span[1])
    if kind == "tone":
        return np.sqrt(2) * np.sin(2 * np.pi * rng.uniform(*band) * seconds)
    if kind == "clicks":
        blows = np.zeros(samples)
        blows[(np.arange(span[0], span[1], 0.1) * rate).astype(int)] = 1
        body = np.exp(-np.arange(int(0.02 * rate)) / (0.003 * rate)) * rng.standard_normal(int(0.02 * rate))
        made = np.convolve(blows, body)[:samples]
        return made / made[sounding].std()
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    inside = (hertz >= band[0]) & (hertz < band[1])
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * inside, samples)
    noise /= noise.std()
    return noise * sounding if kind == "burst" else noise


def main() -> None:
    """Print how often explanations point at the fault, and how often chance would."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, help="the root of the data set it was trained on")
    parser.add_argument("--clips", type=int, default=20, help="of each machine")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    detector = Detector.load(args.run)
    rate = detector.cut.sample_rate
    rng = np.random.default_rng(args.seed)
    hits: dict[tuple[str, str], list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    spent, quiet = [], 0
    for number, machine in enumerate(detector.machines):
        folder = args.data / "dev_data" / "raw" / machine.rpartition("_section_")[0] / "train"
        paths = sorted(folder.glob("*source*normal*.wav"))
        normal = detector.model.sections.training_scores(number)[0]
        alarm = float(normal.quantile(0.99))
        for path in rng.choice(np.array(paths, dtype=object), args.clips, replace=False):
            clean = next(windows_of(path, detector.cut))[1].double().numpy()
            length = len(clean) / rate
            band_number = int(rng.integers(4, BANDS - 1))
            edges = band_edges(rate)
            band = float(edges[band_number]), float(edges[band_number + 1])
            start = rng.uniform(0, length - 2)
            span = start, start + rng.uniform(1, 2)
            kind = str(rng.choice(list(KINDS)))
            added = fault(kind, len(clean), rate, band, span, rng) * clean.std()
            for level in LEVELS_DB:
                loud = (clean + added * 10 ** (level / 20)).clip(-1, 1).astype(np.float32)
                if detector.score(loud, rate, machine).score > alarm:
                    break
            else:
                quiet += 1
                continue
            begin = time.perf_counter()
            found = detector.explain(loud, rate, machine)
            spent.append(time.perf_counter() - begin)
            if KINDS[kind][0]:
                hits["band", kind].append(int(found.by_band.argmax()) == band_number)
                chance["band"].append(1 / BANDS)
            if KINDS[kind][1]:
                spans = span_edges(length)
                touching = (spans[:-1] < span[1]) & (spans[1:] > span[0])
                hits["span", kind].append(bool(touching[found.by_span.argmax()]))
                chance["span"].append(float(touching.mean()))
    for what in ("band", "span"):
        every = [hit for (one, _), some in hits.items() if one == what for hit in some]
        if not every:
            print(f"{what}: no fault of known {what} was heard")
            continue
        kinds = ", ".join(f"{kind} {np.mean(some):.2f}" for (one, kind), some in sorted(hits.items()) if one == what)
        print(f"{what}: {np.mean(every):.2f} of {len(every)} right (chance {np.mean(chance[what]):.2f}); {kinds}")
    print(f"{np.median(spent):.2f} s an explanation; {quiet} faults were not heard at {LEVELS_DB[-1]} dB")


if __name__ == "__main__":
    main()
