"""Official scores on the challenge's own data of a year, row by row beside published figures, as Markdown tables.

``python -m tests.benchmarks.challenge 2026 --out runs/challenge`` downloads the data and the weights, embeds every
clip by frozen BEATs and Dasheng, trains both, BEATs by LoRA and the dual-branch CNN with three seeds each, and scores
each by the same back ends: a global mean, frequency bands, BEAM with VarMin, and relative deviation pooling. What is
there is not made again, so that it can be stopped and go on. ``--root ROOT`` takes data that are there, ``--truth
LIST`` labels the evaluation set, ``--systems`` chooses. Arguments after ``--`` go to every `asd fit`, and to `asd
predict` with a frozen encoder. A system whose weights cannot be had is left out, and the exit code is 2.

``--tiny`` has small random encoders and one epoch, to see that all of it works, on machines that do not exist:

    asd data synthesize ROOT --machines fan bearing --seconds 1 --train-source 24 --train-target 4 --test 6
    asd data synthesize ROOT --subset eval_data --machines valve --seconds 1 --train-source 24 --train-target 4 --test 6
    python -m tests.benchmarks.challenge 2026 --root ROOT --tiny --out runs/tiny
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asd.configured import configured
from asd.data.download.zenodo import SUBSETS
from asd.described import described
from asd.encoders import Encoder
from asd.evaluation import back_ends, clip_scores, embedding_store
from asd.evaluation.embedding_store import Store
from asd.evaluation.evaluator import join_truth
from asd.evaluation.ground_truth import read_truth
from asd.evaluation.metrics import official_score
from asd.plugins import resolve
from asd.run_folder import RunFolder
from asd.scoring import Scorer
from asd.utils.files import replace_text

YEARS = (2023, 2024, 2025, 2026)
"""Those whose two subsets have different machines."""
SYSTEMS = {
    "BEATs, frozen": ("recipe/beats", False),
    "BEATs, tuned": ("recipe/beats", True),
    "BEATs, LoRA": ("recipe/beats_lora", True),
    "Dasheng, frozen": ("recipe/dasheng", False),
    "Dasheng, tuned": ("recipe/dasheng", True),
    "CNN": ("recipe/dual_branch", True),
}
ENCODERS = {
    "recipe/beats": "BEATs",
    "recipe/beats_lora": "LoRA",
    "recipe/dasheng": "Dasheng",
    "recipe/dual_branch": "DualBranchCNN",
}
WEIGHTS = {
    "recipe/beats": "beats_iter3_plus_as2m",
    "recipe/beats_lora": "beats_iter3_as2m",
    "recipe/dasheng": "dasheng_base",
}
CHANNELS = {2026: ["--data.channels", "near"]}
"""What published figures of a year listen to, where recordings have two channels."""
OWN = "the recipe's vector, K-means"
_VARMIN = {"class_path": "LocalDensity", "init_args": {"mode": "varmin", "k": 4}}
_BEAM = {"class_path": "BEAMScorer", "init_args": {"scorer": _VARMIN}}
LADDER: Mapping[str, tuple[str, Any]] = {
    "global mean": ("tokens", "NeighboursScorer"),
    "bands": ("bands", "NeighboursScorer"),
    "bands, BEAM, VarMin": ("bands", _BEAM),
    "RDP 4, BEAM, VarMin": ("bands/rdp4", _BEAM),
    "RDP 8, BEAM, VarMin": ("bands/rdp8", _BEAM),
    OWN: ("", "KMeansScorer"),
}
ALSO = list(dict.fromkeys(what for what, _ in LADDER.values() if what))
# Development and evaluation set, in percent; None where not published.
ROWS: Mapping[int, Mapping[tuple[str, str], float]] = {
    2026: {
        ("BEATs, frozen", "global mean"): 57.16,
        ("BEATs, frozen", "bands"): 57.94,
        ("BEATs, frozen", "bands, BEAM, VarMin"): 60.28,
        ("BEATs, frozen", "RDP 4, BEAM, VarMin"): 61.32,
        ("BEATs, frozen", "RDP 8, BEAM, VarMin"): 62.02,
    }
}
PUBLISHED: Mapping[int, Sequence[tuple[str, float | None, float | None]]] = {
    2023: [
        ("frozen BEATs, toolkit of arXiv 2507.10264", 60.11, 62.40),
        ("CNN on spectrograms, the same", 64.40, 66.14),
        ("BEATs tuned with LoRA, the same", 62.66, 71.46),
        ("challenge, first place", None, 66.97),
    ],
    2024: [
        ("frozen BEATs, toolkit of arXiv 2507.10264", 56.11, 57.62),
        ("CNN on spectrograms, the same", 61.58, 56.84),
        ("BEATs tuned with LoRA, the same", 59.53, 61.72),
        ("challenge, first place", None, 66.24),
    ],
    2025: [
        ("organisers' autoencoder", 56.26, 54.43),
        ("organisers' autoencoder, Mahalanobis", 55.34, 56.51),
        ("frozen BEATs, arXiv 2603.04605", 64.0, 62.4),
        ("challenge, first place", 60.9, 61.63),
    ],
    2026: [
        ("organisers' autoencoder", 56.66, 59.80),
        ("organisers' autoencoder, Mahalanobis", 57.66, 54.76),
        ("frozen BEATs, near channel (kasahart)", 61.33, 62.84),
        ("BEATs tuned with LoRA, near channel (kasahart)", 63.05, 67.92),
        ("BEATs tuned with LoRA, both channels (kasahart)", 69.53, 70.66),
        ("challenge, first place", None, 70.24),
    ],
}
Scores = dict[str, dict[str, float]]


def asd(*arguments: object) -> int:
    """Run the program, which says itself what is wrong; returns the exit code."""
    command = [sys.executable, "-m", "asd", *map(str, arguments)]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode


def must(*arguments: object) -> None:
    """Run the program, and end where it fails."""
    if code := asd(*arguments):
        sys.exit(code)


def claim(folder: Path, made_of: Mapping[str, Any]) -> None:
    """Note what the runs of a folder are made of, or end where others are there."""
    noted = folder / "made_of.json"
    if noted.is_file() and json.loads(noted.read_text()) != made_of:
        print(f"{folder} has runs of other data or arguments, see {noted.name}; give another --out", file=sys.stderr)
        sys.exit(2)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(noted, json.dumps(made_of, indent=2))


def pseudo_labels(out: Path, config: Sequence[str]) -> list[str]:
    """Clusters in the place of attributes that machines hide, by the frozen encoder, as arguments of `asd fit`."""
    frozen, labels = out / "BEATs_LoRA_frozen", out / "labels.csv"
    if not (RunFolder(frozen).embeddings / "query.safetensors").is_file():
        must("predict", *config, "--outputs.folder", frozen, "--outputs.also", "[bands/mean]")
    if all(clip.attributes for clip in embedding_store.read(frozen).reference.clips):
        return []
    if not labels.is_file():
        must("data", "pseudo-label", frozen, "--what", "bands/mean", "--clusters", 0.008, "--out", labels)
    return ["--data.labels", str(labels)]


def embedded(system: str, seed: int, out: Path, arguments: Sequence[str]) -> Path:
    """The run whose embeddings are stored, which is made where it is not there."""
    recipe, tuned = SYSTEMS[system]
    home = out / f"{system.replace(', ', '_')}_{seed}"
    config = ["--config", recipe, *arguments, "--trainer.enable_progress_bar=false"]
    config += pseudo_labels(out, config) if recipe == "recipe/beats_lora" else []
    config += ["--seed_everything", str(seed)]
    also = ["--outputs.also", json.dumps(ALSO)]
    run = home
    if tuned:
        logger = ["--trainer.logger.save_dir", str(out), "--trainer.logger.name", home.name]
        if not list(home.glob("version_*/results.json")):
            must("fit", *config, *logger, "--outputs.pictures=false", "--trainer.check_val_every_n_epoch", 999)
        run = sorted(home.glob("version_*/results.json"))[-1].parent
    # Written after the reference clips, each whole or not at all.
    if not (RunFolder(run).embeddings / "query.safetensors").is_file():
        if tuned:
            must("predict", "--ckpt_path", RunFolder(run).checkpoint, *also, "--trainer.enable_progress_bar=false")
        else:
            must("predict", *config, "--model.adapter.embedding", "tokens", *also, "--outputs.folder", run)
    return run


def measured(store: Store, machines: Mapping[str, Sequence[str]], truth: Path | None = None) -> Scores:
    """Official scores in percent by row and subset; without those of a subset whose labels are not known.

    Args:
        store: Embeddings, with every vector that a row is of.
        machines: Of each subset.
        truth: Labels of test clips whose names do not say.
    """
    found: Scores = {}
    for row, (what, spec) in LADDER.items():
        scored = back_ends.score(store.of(what or store.query.what), configured(spec, Scorer), spec).rows
        found[row] = {}
        for subset, names in machines.items():
            own = [clip for clip in scored if clip.machine in names]
            if truth is not None and any(clip.condition is None for clip in own):
                own = join_truth(own, read_truth(truth), truth)
            if own and all(clip.condition is not None for clip in own):
                found[row][subset] = 100 * official_score(clip_scores.measure(own))
    return found


def scores(system: str, seed: int, given: argparse.Namespace, arguments: Sequence[str]) -> Scores:
    """What a system has with a seed."""
    run = embedded(system, seed, given.out, arguments)
    raw = {subset: given.root / subset / "raw" for subset in SUBSETS}
    machines = {subset: sorted(one.name for one in place.iterdir()) for subset, place in raw.items() if place.is_dir()}
    return measured(embedding_store.read(run), machines, given.truth)


def cell(values: Sequence[float]) -> str:
    """The mean, and where there are several seeds the standard deviation."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def lines(year: int, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    """The tables: each system and row with its seeds, and what others have published."""
    shown = ["| system | row | seeds | development | published | evaluation |", "|---|---|---:|---:|---:|---:|"]
    for system, seeds in found.items():
        for row in LADDER:
            dev, test = (cell([one[row][subset] for one in seeds if subset in one[row]]) for subset in SUBSETS)
            published = ROWS.get(year, {}).get((system, row))
            beside = "" if published is None else f"{published:.2f}"
            shown.append(f"| {system} | {row} | {len(seeds)} | {dev} | {beside} | {test} |")
    shown += ["", f"| published, {year} | development | evaluation |", "|---|---:|---:|"]
    for name, *both in PUBLISHED[year]:
        shown.append(f"| {name} | {' | '.join(cell([] if one is None else [one]) for one in both)} |")
    return shown


def tiny(out: Path, recipe: str) -> list[str]:
    """The arguments that make of a recipe what is over in a minute."""
    path = out / f"{ENCODERS[recipe]}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = described(resolve(ENCODERS[recipe], Encoder).tiny())
    path.write_text(yaml.safe_dump({"model": {"encoder": encoder}}))
    short = ["--trainer.max_epochs=1", "--warmup.epochs=0", "--data.seconds=1", "--data.batch_size=8"]
    return ["--config", str(path), *short, "--trainer.precision=32"]


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("year", type=int, choices=YEARS)
    parser.add_argument("--root", type=Path, help="the data set; nothing is downloaded then")
    parser.add_argument("--truth", type=Path, help="list of labels of the evaluation set, or the evaluator's folder")
    parser.add_argument("--out", type=Path, required=True, help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--tiny", action="store_true", help="small random encoders and one epoch")
    parser.epilog = "what follows -- goes to asd fit and asd predict"
    words = list(sys.argv[1:] if argv is None else argv)
    # By hand: argparse of Python 3.11 takes them only where the year is the last before them.
    at = words.index("--") if "--" in words else len(words)
    given, further = parser.parse_args(words[:at]), words[at + 1 :]
    # Apart, or what was measured of one would be shown as that of another.
    given.out = given.out / f"{given.year}{'_tiny' if given.tiny else ''}"
    root = given.root or Path("data") / f"dcase{given.year}t2"
    claim(given.out, {"root": str(root.resolve()), "arguments": further})
    if given.root is None:
        given.root = root
        must("data", "download", given.year, "--out", root)
    recipes = dict.fromkeys(SYSTEMS[system][0] for system in given.systems)
    fetched = [] if given.tiny else [recipe for recipe in recipes if recipe in WEIGHTS]
    without = [recipe for recipe in fetched if asd("weights", "fetch", WEIGHTS[recipe])]
    left_out = [system for system in given.systems if SYSTEMS[system][0] in without]
    found: dict[str, list[Scores]] = {}
    for system in given.systems:
        if system in left_out:
            continue
        recipe, tuned = SYSTEMS[system]
        small = tiny(given.out, recipe) if given.tiny else []
        arguments = [*small, "--data.root", str(given.root), *CHANNELS.get(given.year, []), *further]
        # Nothing is drawn where nothing is trained.
        seeds = given.seeds if tuned else given.seeds[:1]
        found[system] = [scores(system, seed, given, arguments) for seed in seeds]
    if given.tiny:
        print("Small random encoders: these figures say that all of it works, and nothing else.\n")
    print("\n".join(lines(given.year, found)))
    if left_out:
        print(f"left out, for want of weights: {'; '.join(left_out)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
