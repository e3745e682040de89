"""How much to record: false alarms, faults found and AUC by the minutes of normal sound that a machine is learned from.

``python -m tests.benchmarks.minutes --data OWN --checkpoint RUN`` enrolls each machine of ``OWN/own`` from its first
recordings, of a minute each, and measures ``OWN/same`` and ``OWN/new`` (each ``<machine>/{normal,anomaly}``); then
from all of them, calibrated by so many clips of ``OWN/commission``. Means over machines, in percent.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from asd.data.clip import Sound
from asd.evaluation.metrics import area_under_roc
from asd.inference import Detector, enroll
from asd.inference.hearing import bank_of
from asd.scoring.limits import Decision
from tests.benchmarks.plant import DAYS

Heard = dict[str, list[Tensor]]


def heard(detector: Detector, data: Path, machine: str) -> Heard:
    """By day, the embeddings of the normal clips and of the faults."""
    return {
        day: [
            bank_of(
                detector.embed, detector.cut, [Sound(path) for path in sorted((data / day / machine / name).iterdir())]
            ).embeddings
            for name in ("normal", "anomaly")
        ]
        for day in DAYS
    }


def rates(detector: Detector, machine: str, clips: Heard) -> Iterator[tuple[str, tuple[float, ...]]]:
    """By day: false alarms, normal clips in the band, faults found, and AUC, in percent."""
    sections, number = detector.model.sections, detector.section_index(machine)
    limits = sections.limits(number)
    for day, parts in clips.items():
        normal, faulty = (sections(embeddings, number).tolist() for embeddings in parts)
        calm, found = ([limits.decide(score) for score in scores] for scores in (normal, faulty))
        auc = area_under_roc(np.array([False] * len(normal) + [True] * len(faulty)), np.array(normal + faulty))
        alarms = np.mean([one == Decision.ANOMALOUS for one in calm])
        band = np.mean([one == Decision.UNCERTAIN for one in calm])
        hits = np.mean([one == Decision.ANOMALOUS for one in found])
        yield day, tuple(100 * float(one) for one in (alarms, band, hits, auc))


def learned(checkpoint: Path, machine: str, paths: list[Path], budget: str) -> Detector:
    """The detector with a machine that it learned from these recordings by `enroll`."""
    with tempfile.TemporaryDirectory() as folder:
        normal, whole = Path(folder, "normal"), Path(folder, "whole.ckpt")
        normal.mkdir()
        for path in paths:
            (normal / path.name).symlink_to(path.resolve())
        enroll(checkpoint, machine, normal, whole, false_alarms=budget)
        return Detector.load(whole, recorded_otherwise="ignore")


def main() -> None:
    """Learn, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="one's own recordings, and what is measured with")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the detector that learns the machines")
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    parser.add_argument("--clips", type=int, nargs="*", default=[5, 10, 20, 40], help="of the other day")
    parser.add_argument("--false-alarms", default="10%", help="that were asked for")
    given = parser.parse_args()
    every: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    machines = sorted(folder.name for folder in (given.data / "own").iterdir())
    for machine in machines:
        clips = heard(Detector.load(given.checkpoint, recorded_otherwise="ignore"), given.data, machine)
        paths = sorted((given.data / "own" / machine / "normal").iterdir())
        later = sorted((given.data / "commission" / machine / "normal").iterdir())
        for minutes in given.minutes:
            detector = learned(given.checkpoint, machine, paths[:minutes], given.false_alarms)
            for day, found in rates(detector, machine, clips):
                every[f"{minutes} min", day].append(found)
        for count in given.clips:
            detector = learned(given.checkpoint, machine, paths, given.false_alarms)
            detector.calibrate(later[:count], machine, given.false_alarms)
            for day, found in rates(detector, machine, clips):
                every[f"{len(paths)} min and {count} clips of the other day", day].append(found)
    print("| learned from | clips | false alarms | normal in the band | faults found | AUC |")
    print("|---|---|---:|---:|---:|---:|")
    for (what, day), several in every.items():
        means = [statistics.mean(values) for values in zip(*several, strict=True)]
        print(f"| {what} | {DAYS[day]} | {' | '.join(f'{mean:.1f}' for mean in means)} |")


if __name__ == "__main__":
    main()
