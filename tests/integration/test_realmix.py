"""Real machines in real noise: the data are sound, training learns, and pre-trained weights hear more than chance."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.quick import QUICK

RECIPES = Path(__file__).parents[2] / "configs" / "recipe"


def results(done, cwd: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((cwd / done.stdout.strip().splitlines()[-1] / "results.json").read_text())


def mean_source_auc(found: dict[str, dict[str, dict[str, float]]]) -> float:
    return sum(one["auc_source"] for one in found["machines"].values()) / len(found["machines"])


def test_the_recordings_pass_the_check(here, realmix: Path) -> None:
    shown = here("data", "check", realmix).stdout
    for machine in (realmix / "dev_data/raw").iterdir():
        assert machine.name in shown


def test_the_dual_branch_cnn_learns_from_real_sound(here, realmix: Path, tmp_path: Path) -> None:
    done = here(
        "fit", "--config", RECIPES / "dual_branch.yaml", "--data.root", realmix, "--data.seconds=3",
        "--model.encoder.seconds=3", "--trainer.max_epochs=3", *QUICK,
    )  # fmt: skip
    found = results(done, tmp_path)
    assert len(found["machines"]) == 5
    assert mean_source_auc(found) > 0.5
    rows = list(csv.DictReader((tmp_path / done.stdout.strip().splitlines()[-1] / "metrics.csv").open()))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_real_weights_tell_real_faults_apart_without_training(
    here, realmix: Path, shared: Path, tmp_path: Path
) -> None:
    weights = shared / "weights" / "mn04_as_mAP_432.pt"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    done = here(
        "test", "--config", RECIPES / "mobilenet.yaml", "--data.root", realmix, "--data.seconds=3",
        "--model.encoder.weights", weights, "--model.adapter.embedding_dim=null", *QUICK,
    )  # fmt: skip
    assert mean_source_auc(results(done, tmp_path)) > 0.55
