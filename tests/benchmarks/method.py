"""Official scores on RealMix of what can be chosen in training, each alone and all together.

``python -m tests.benchmarks.method --root ROOT --weights mn04_as_mAP_432.pt --out runs/method`` trains the recipes on
all ten machines, three seeds of each variant, and measures the five that have test clips. A run that is there is not
made again, so that it can be stopped and go on; ``--recipes`` and ``--only`` choose. Arguments after ``--`` go to every
`asd fit`, such as ``--trainer.precision 32`` for a CPU without bfloat16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ENERGY = ["--model.mixup.by_energy", "true"]
EVERY_CENTRE = ["--model.head.scale_over", "all"]
CLOSE = [
    *("--model.optimizer.encoder_lr", "1e-4", "--warmup.keep_statistics", "true", "--trainer.max_epochs", "8"),
    *("--data.crop_seconds", "5", "--model.encoder.augment", "SpecAugment", "--model.adapter.embedding", "pooled"),
]
EXCHANGE = ["--model.exchange", "FeatureExchange"]
FURTHER = ["--model.encoder.resolutions", "[[256, 128], [4096, 1024]]"]
MEANS = ["KMeansScorer", "--model.scorer.scorer.k", "16", "--model.scorer.scorer.metric", "cosine"]
ROWS = [
    *("--model.encoder.rows", "4", "--model.adapter", "Adapter", "--model.adapter.embedding", "bands"),
    *("--model.scorer", "BEAMScorer", "--model.scorer.scorer", *MEANS, "--model.scorer.scorer.target", "own_centres"),
]
SEEDS = [
    *("--model.encoder", "SeedEnsemble", "--model.encoder.encoder", "DualBranchCNN"),
    *("--model.encoder.count", "3", "--trainer.max_epochs", "4"),
]
VARIANTS = {
    "recipe/dual_branch": {
        "as it is": [],
        "spectrogram to the letter of the report": ["--model.encoder.clip_mean", "false"],
        "AdaCos' scale over all centres": EVERY_CENTRE,
        "mixup by energy": ENERGY,
        "the last two": [*EVERY_CENTRE, *ENERGY],
        "feature exchange": EXCHANGE,
        "rows kept": ROWS,
        "further resolutions": FURTHER,
        "subspaces (AdaProj)": ["--model.head", "AdaProj", "--model.head.trainable", "false"],
        "three seeds of four epochs in one run": SEEDS,
        "exchange and resolutions": [*EXCHANGE, *FURTHER],
    },
    "recipe/mobilenet": {"as it is": [], "close to frozen": CLOSE},
}


def results(folder: Path, arguments: list[str]) -> float:
    """The official score in percent of a run, which is made where it is not there."""
    done = sorted(folder.glob("version_*/results.json"))
    if not done:
        logger = ["--trainer.logger.save_dir", str(folder.parent), "--trainer.logger.name", folder.name]
        quiet = ["--trainer.enable_progress_bar=false", "--outputs.pictures=false"]
        subprocess.run(
            [sys.executable, "-m", "asd", "fit", *arguments, *logger, *quiet], check=True, stdout=subprocess.DEVNULL
        )
        done = sorted(folder.glob("version_*/results.json"))
    score: float = json.loads(done[-1].read_text())["official_score"]
    return 100 * score


def main() -> None:
    """Train what is missing, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--root", required=True, help="RealMix, built in full, with the additional machines")
    parser.add_argument("--weights", required=True, help="of mn04")
    parser.add_argument("--out", type=Path, required=True, help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--only", nargs="*", help="variants, by words of their names")
    parser.add_argument("arguments", nargs="*", help="of asd fit, after --")
    given = parser.parse_args()
    for recipe in given.recipes:
        variants, name = VARIANTS[recipe], recipe.rpartition("/")[2]
        weights = ["--model.encoder.weights", given.weights] if name == "mobilenet" else []
        usual = None
        print(f"\n| {name} | official, seeds {', '.join(map(str, given.seeds))} | mean | deviation | gain |")
        print("|---|---|---:|---:|---:|")
        for variant, options in variants.items():
            if given.only and not any(words in variant for words in given.only):
                continue
            scores = []
            for seed in given.seeds:
                folder = given.out / f"{name}_{variant.replace(' ', '_')}_{seed}"
                fit = ["--config", recipe, *weights, *options, "--data.root", given.root]
                fit += ["--seed_everything", str(seed), "--trainer.check_val_every_n_epoch", "99"]
                scores.append(results(folder, [*fit, *given.arguments]))
            mean = statistics.mean(scores)
            usual = mean if not options else usual
            deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
            gain = "" if usual is None or not options else f"{mean - usual:+.2f}"
            shown = ", ".join(f"{score:.2f}" for score in scores)
            print(f"| {variant} | {shown} | {mean:.2f} | {deviation:.2f} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
