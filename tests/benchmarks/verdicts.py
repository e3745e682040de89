"""False alarms and misses at the limits of runs, beside what was asked for and what the ranking allows.

``python -m tests.benchmarks.verdicts --out runs/verdicts`` trains the quickstart with three seeds, with clips kept for
calibration and without; ``-- --config recipe/dual_branch --data.root ROOT`` trains that instead. A run that is there is
not made again; ``--runs FOLDER ...`` takes runs as they are.

*Before* is the limit that follows from clips that were trained on, each left out alone: the lower edge of the band of a
run without calibration clips. *After* is the threshold of a run with them. A machine's ideal threshold is the quantile
of its normal test clips, which nobody knows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from asd.evaluation import calibration
from asd.evaluation.clip_scores import named_sections, read_scores

PARTS = {"before": "0", "after": "0.2"}


def trained(out: Path, name: str, seed: int, part: str, arguments: list[str]) -> Path:
    """The folder of a run, which is made where it is not there."""
    folder = out / f"{name}_{seed}"
    done = sorted(folder.glob("version_*/results.json"))
    if not done:
        logger = ["--trainer.logger.save_dir", str(out), "--trainer.logger.name", folder.name]
        more = ["--data.calibration", part, "--seed_everything", str(seed), "--trainer.enable_progress_bar=false"]
        command = [sys.executable, "-m", "asd", "fit", *arguments, *logger, *more, "--outputs.pictures=false"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        done = sorted(folder.glob("version_*/results.json"))
    return done[-1].parent


def quickstart(out: Path, seed: int) -> list[str]:
    """The arguments of the quickstart on data of each seed's own."""
    return ["--config", "quickstart", "--data.root", str(out / f"data_{seed}"), "--data.seed", str(seed)]


def rates(run: Path, lower_edge: bool, nominal: float) -> list[tuple[float, ...]]:
    """For each machine with labels: alarms among normal source and target clips, those of both in the band, and found
    faults, all in percent; then what the ideal threshold finds."""
    known = calibration.read(run)
    assert known is not None
    found = []
    for name, clips in named_sections(read_scores(run / "scores")).items():
        own = known.of(name)
        labelled = [clip for clip in clips if clip.condition is not None]
        if own is None or not labelled:
            continue
        scores = np.array([clip.score for clip in labelled])
        faulty = np.array([clip.condition == "anomaly" for clip in labelled])
        target = np.array([clip.domain == "target" for clip in labelled])
        limit = own.abstain if lower_edge else own.threshold
        alarm = scores > limit
        band = ~alarm & (scores > own.abstain)
        ideal = scores > np.quantile(scores[~faulty], 1 - nominal)
        parts = (alarm[~faulty & ~target], alarm[~faulty & target], band[~faulty], alarm[faulty], ideal[faulty])
        found.append(tuple(100 * float(part.mean()) for part in parts))
    return found


def main() -> None:
    """Train what is missing, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("runs/verdicts"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--nominal", type=float, default=0.1, help="false alarms that were asked for")
    parser.add_argument("--runs", type=Path, nargs="*", help="run folders, instead of training")
    parser.add_argument("arguments", nargs="*", help="of asd fit, after --")
    given = parser.parse_args()
    print("| limit | false alarms source | target | normal in the band | faults found | ideal threshold |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, part in PARTS.items():
        runs = given.runs or [
            trained(given.out, name, seed, part, given.arguments or quickstart(given.out, seed)) for seed in given.seeds
        ]
        machines = [one for run in runs for one in rates(run, name == "before", given.nominal)]
        means = [statistics.mean(values) for values in zip(*machines, strict=True)]
        print(f"| {name} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    main()
