"""False alarms and misses at the limits of runs, beside what was asked for and what the ranking allows.

``python -m tests.benchmarks.verdicts --out runs/verdicts`` trains the quickstart with three seeds, with clips kept for
calibration and without; ``-- --config recipe/dual_branch --data.root ROOT`` trains that instead. A run that is there is
not made again; ``--runs FOLDER ...`` takes runs as they are. ``--stores FOLDER ... --calibrate 20`` takes embeddings of
`asd predict` instead, and calibrates each machine by so many normal test clips of each domain, with which nothing is
measured then: the limits alone, or with the clips as references, too.

*Before* is the limit that follows from clips that were trained on, each left out alone: the lower edge of the band of a
run without calibration clips. *After* is the threshold of a run with them. A machine's ideal threshold is the quantile
of its normal test clips, which nobody knows.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from asd.configured import configured
from asd.evaluation import back_ends, calibration, embedding_store
from asd.evaluation.clip_scores import ClipScore, named_sections, read_scores
from asd.evaluation.embedding_store import StoredClip
from asd.inference.recalibration import recalibrated
from asd.scoring import GammaThreshold, Scorer
from asd.scoring.limits import Limits
from asd.scoring.reference_bank import Bank

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
        if own is not None and labelled:
            limits = own.limits._replace(alarm=own.limits.abstain) if lower_edge else own.limits
            found.append(of_clips(labelled, [clip.score for clip in labelled], limits, nominal))
    return found


def of_clips(
    clips: Sequence[ClipScore | StoredClip], values: Sequence[float], limits: Limits, nominal: float
) -> tuple[float, ...]:
    """The rates of a machine's clips with labels."""
    scores = np.array(values)
    faulty = np.array([clip.condition == "anomaly" for clip in clips])
    target = np.array([clip.domain == "target" for clip in clips])
    alarm = scores > limits.alarm
    band = ~alarm & (scores > limits.abstain)
    ideal = scores > np.quantile(scores[~faulty], 1 - nominal)
    parts = (alarm[~faulty & ~target], alarm[~faulty & target], band[~faulty], alarm[faulty], ideal[faulty])
    return tuple(100 * float(part.mean()) for part in parts)


@torch.no_grad()
def calibrated(folder: Path, scorer: Scorer, clips: int, nominal: float) -> Iterator[tuple[str, tuple[float, ...]]]:
    """By what was done, the rates of every machine with labels, before and after a calibration at its place."""
    store = embedding_store.read(folder)
    query, budget = store.query, f"{100 * nominal:g}%"
    scorers = back_ends.fit(store, scorer, GammaThreshold(false_alarms=budget))
    for number, name in enumerate(scorers.names):
        own = [row for row, clip in enumerate(query.clips) if str(clip.machine_section) == name and clip.condition]
        taken: list[int] = []
        for domain in ("source", "target"):
            normal = [row for row in own if (query.clips[row].domain, query.clips[row].condition) == (domain, "normal")]
            taken += random.Random(f"{name} {domain}").sample(normal, min(clips, len(normal) // 2))
        if not taken:
            continue
        bank = Bank.build(query.embeddings[taken], [query.clips[row] for row in taken], [name])
        left = [row for row in own if row not in taken]
        model: Any = SimpleNamespace(scorer=scorer)
        made = {"before": scorers}
        for what, add in (("limits alone", False), ("references, too", True)):
            made[what] = recalibrated(model, scorers, number, bank, query.seconds, budget, add)[0]
        for what, one in made.items():
            scores = one(query.embeddings[left], number).tolist()
            yield what, of_clips([query.clips[row] for row in left], scores, one.limits(number), nominal)


def main() -> None:
    """Train what is missing, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("runs/verdicts"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--nominal", type=float, default=0.1, help="false alarms that were asked for")
    parser.add_argument("--runs", type=Path, nargs="*", help="run folders, instead of training")
    parser.add_argument("--stores", type=Path, nargs="*", default=[], help="embeddings, instead of runs")
    parser.add_argument("--scorer", default="KMeansScorer", help="of stores")
    parser.add_argument("--calibrate", type=int, default=20, help="normal test clips of each domain, of stores")
    parser.add_argument("arguments", nargs="*", help="of asd fit, after --")
    given = parser.parse_args()
    print("| limit | false alarms source | target | normal in the band | faults found | ideal threshold |")
    print("|---|---:|---:|---:|---:|---:|")
    if given.stores:
        scorer = configured({"class_path": given.scorer}, Scorer)  # type: ignore[type-abstract]
        by_what = defaultdict(list)
        for folder in given.stores:
            for what, found in calibrated(folder, scorer, given.calibrate, given.nominal):
                by_what[what].append(found)
        for what, machines in by_what.items():
            show(what, machines)
        return
    for name, part in PARTS.items():
        runs = given.runs or [
            trained(given.out, name, seed, part, given.arguments or quickstart(given.out, seed)) for seed in given.seeds
        ]
        machines = [one for run in runs for one in rates(run, name == "before", given.nominal)]
        show(name, machines)


def show(name: str, machines: list[tuple[float, ...]]) -> None:
    """A line of the table: means over machines and runs."""
    means = [statistics.mean(values) for values in zip(*machines, strict=True)]
    print(f"| {name} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    main()
