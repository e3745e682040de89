"""What each back end is worth on stored embeddings, and what a choice of one is, as Markdown tables.

``python -m tests.benchmarks.back_ends frozen=RUN dual=RUN,RUN,RUN`` takes the stores of `asd predict`, those of several
seeds joined by commas; scores are means over them. ``--pseudo`` chooses without labels as well, which takes longer.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from asd.configured import configured
from asd.errors import UserError
from asd.evaluation import back_ends, embedding_store, pseudo_anomalies
from asd.evaluation.metrics import SectionMetrics, official_score
from asd.scoring import Scorer

GRID = Path(__file__).parents[2] / "configs" / "grid" / "back_ends.yaml"
Found = dict[str, list[dict[str, SectionMetrics]]]


def measured(paths: list[Path], grid: Path) -> Found:
    """Metrics by machine of each back end, for each store."""
    found: Found = {}
    stores = [embedding_store.read(path) for path in paths]
    for spec in back_ends.read_grid(grid):
        try:
            found[back_ends.describe(spec)] = [back_ends.score(one, configured(spec, Scorer)).metrics for one in stores]
        except UserError as error:
            print(f"left out {back_ends.describe(spec)}: {error}")
    return found


def mean_official(runs: list[dict[str, SectionMetrics]], without: str = "") -> float:
    """Mean official score in percent, with a machine left out."""
    kept = [{name: one for name, one in run.items() if name != without} for run in runs]
    return 100 * statistics.mean(official_score(run) for run in kept)


def chosen_elsewhere(found: Found) -> float:
    """Mean official score where each machine's back end is the best one on the other machines."""
    machines = list(next(iter(found.values()))[0])
    best = {m: max(found, key=lambda name, m=m: mean_official(found[name], m)) for m in machines}
    seeds = range(len(next(iter(found.values()))))
    return 100 * statistics.mean(official_score({m: found[best[m]][seed][m] for m in machines}) for seed in seeds)


def chosen_without_labels(found: Found, paths: list[Path], grid: Path) -> float:
    """Mean official score where each store's back end is the one with the highest pseudo-AUC."""
    specs = {back_ends.describe(spec): spec for spec in back_ends.read_grid(grid)}
    scores = []
    for seed, path in enumerate(paths):
        reference = embedding_store.read(path).reference
        trial = pseudo_anomalies.trial([reference])

        def worth(name: str, reference=reference, trial=trial) -> float:
            return pseudo_anomalies.overall(
                pseudo_anomalies.pseudo_auc(trial, reference, configured(specs[name], Scorer))
            )

        scores.append(official_score(found[max(found, key=worth)][seed]))
    return 100 * statistics.mean(scores)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("stores", nargs="+", metavar="NAME=STORE[,STORE...]")
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--pseudo", action="store_true", help="choose by pseudo-anomalies, too")
    given = parser.parse_args()
    groups = {one.partition("=")[0]: [Path(p) for p in one.partition("=")[2].split(",")] for one in given.stores}
    found = {name: measured(paths, given.grid) for name, paths in groups.items()}
    shared = [name for name in next(iter(found.values())) if all(name in one for one in found.values())]
    print(f"| back end | {' | '.join(groups)} |\n|---|{'---:|' * len(groups)}")
    for name in shared:
        print(f"| {name} | {' | '.join(f'{mean_official(one[name]):.2f}' for one in found.values())} |")
    print(f"\n| choice of the back end | {' | '.join(groups)} |\n|---|{'---:|' * len(groups)}")
    best = [max(mean_official(runs) for runs in one.values()) for one in found.values()]
    print(f"| the best by these labels | {' | '.join(f'{value:.2f}' for value in best)} |")
    other = [chosen_elsewhere(one) for one in found.values()]
    print(f"| each machine's by the labels of the others | {' | '.join(f'{value:.2f}' for value in other)} |")
    drawn = [statistics.mean(mean_official(runs) for runs in one.values()) for one in found.values()]
    print(f"| drawn at random | {' | '.join(f'{value:.2f}' for value in drawn)} |")
    if given.pseudo:
        blind = [chosen_without_labels(found[name], paths, given.grid) for name, paths in groups.items()]
        print(f"| by pseudo-anomalies, without labels | {' | '.join(f'{value:.2f}' for value in blind)} |")


if __name__ == "__main__":
    main()
