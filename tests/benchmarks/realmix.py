"""Official scores of runs on RealMix, as a Markdown table.

``python -m tests.benchmarks.realmix --root REALMIX --seeds 1 2 3 -- --config configs/recipe/dual_branch.yaml`` trains
once a seed with the arguments after ``--``; ``--runs FOLDER ...`` tabulates runs that are there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path


def train(root: str, seed: int, arguments: list[str]) -> Path:
    """Run `asd fit`; returns the run folder."""
    command = [sys.executable, "-m", "asd", "fit", *arguments, "--data.root", root, "--seed_everything", str(seed)]
    done = subprocess.run(
        [*command, "--trainer.enable_progress_bar=false"], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(done.stdout.strip().splitlines()[-1])


def row(name: str, results: dict[str, object]) -> str:
    """Official score and source AUC / target AUC / pAUC of each machine, in percent."""
    cells = [f"{100 * results['official_score']:.2f}"]
    for machine in results["machines"].values():
        cells.append(" / ".join(f"{100 * machine[key]:.1f}" for key in ("auc_source", "auc_target", "pauc")))
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Train, read the results, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--root", help="RealMix, built in full")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, nargs="*", help="run folders, instead of training")
    parser.add_argument("arguments", nargs="*", help="of asd fit, after --")
    given = parser.parse_args()
    runs = given.runs or [train(given.root, seed, given.arguments) for seed in given.seeds]
    results = [json.loads((run / "results.json").read_text()) for run in runs]
    machines = list(results[0]["machines"])
    print(f"| run | official | {' | '.join(machines)} |\n|---|---:|{'---:|' * len(machines)}")
    for run, result in zip(runs, results, strict=True):
        print(row(f"{run.parent.name}/{run.name}", result))
    scores = [100 * result["official_score"] for result in results]
    if len(scores) > 1:
        print(f"\nmean {statistics.mean(scores):.2f}, standard deviation {statistics.stdev(scores):.2f}")


if __name__ == "__main__":
    main()
