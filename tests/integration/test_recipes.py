"""Every recipe trains, thaws, tests and scores again from its checkpoint, at tiny size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from asd.errors import Notice
from asd.utils import configs
from tests.quick import QUICK

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "recipe").glob("*.yaml"))
SMALL_TRANSFORMER = {"width": 16, "depth": 4, "heads": 2}
# What makes an encoder small; weights files are not at hand.
TINY: dict[str, dict[str, Any]] = {
    "AST": {
        "frames": 128,
        "config": {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32},
    },
    "Autoencoder": {"seconds": 1.0, "width": 16},
    "BEATs": {
        "shape": SMALL_TRANSFORMER | {"hidden": 32, "patch_width": 8, "position_kernel": 8, "position_groups": 2}
    },
    "Dasheng": {"shape": SMALL_TRANSFORMER},
    "DualBranchCNN": {"seconds": 1.0, "width": 4},
    "EAT": {"shape": SMALL_TRANSFORMER},
    "MobileNet": {"width": 0.1},
}


def shrink(encoder: dict[str, Any]) -> None:
    arguments = encoder.setdefault("init_args", {})
    if "encoders" in arguments:
        for part in arguments["encoders"]:
            shrink(part)
        return
    if "encoder" in arguments:  # it wraps another one
        shrink(arguments["encoder"])
        return
    arguments |= TINY[encoder["class_path"]]
    if "weights" in arguments:
        arguments["weights"] = None


def tiny(recipe: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    config = configs.read(recipe)
    shrink(config["model"]["encoder"])
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path, config


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs_from_end_to_end(
    here, recipe: Path, synthetic: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, config = tiny(recipe, tmp_path)
    frozen = config["warmup"]["epochs"]
    done = here(
        "fit", "--config", path, "--data.root", synthetic, "--data.seconds=1", "--data.batch_size=8",
        f"--trainer.max_epochs={frozen + 1}", *QUICK,
    )  # fmt: skip
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    first = json.loads((folder / "results.json").read_text())
    assert 0 <= first["official_score"] <= 1
    if frozen:
        assert f"epoch {frozen}: " in caplog.text
        assert "parameters of the encoder train" in caplog.text
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert content["state_dict"]["sections.thresholds"].isfinite().all(), "the checkpoint alone must score"
    again = here(
        "test", "--ckpt_path", folder / "checkpoints/last.ckpt", "--outputs.pictures=false", "--out=again"
    )  # fmt: skip
    second = tmp_path / again.stdout.strip().splitlines()[-1]
    for path in (folder / "scores").iterdir():
        assert (second / "scores" / path.name).read_text() == path.read_text()


def test_scores_instead_of_embeddings_are_fused_by_config(here, synthetic: Path, tmp_path: Path) -> None:
    recipe = next(path for path in RECIPES if path.stem == "beats_dasheng")
    path, _ = tiny(recipe, tmp_path)
    command = next(line for line in recipe.read_text().split("`") if line.startswith("--model.adapter"))
    done = here(
        "fit", "--config", path, "--data.root", synthetic, "--data.seconds=1", "--data.batch_size=8",
        "--trainer.max_epochs=1", "--warmup.epochs=0", *QUICK, *command.split(),
    )  # fmt: skip
    assert "official score" in done.stdout


def test_twenty_minutes_of_ones_own_machine_are_enough(here, tmp_path: Path) -> None:
    """The config for one's own recordings: no labels, no faults, long files of another rate."""
    for day in range(6):
        path = tmp_path / "plant/pump 3/normal" / f"day {day}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.1 * np.random.default_rng(day).standard_normal(3 * 22050)
        soundfile.write(path, sound, 22050)
    config = RECIPES[0].parents[1] / "my_machine.yaml"
    path, _ = tiny(config, tmp_path)
    small = ["--data.seconds=1", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]
    with pytest.warns(Notice, match="false alarms can be measured, detection cannot"):
        done = here("fit", "--config", path, "--data.root", tmp_path / "plant", *small, *QUICK)
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    results = json.loads((folder / "results.json").read_text())
    assert results["official_score"] is None
    decisions = results["machines"]["pump 3"]["decisions"]["source"]
    assert decisions["normal"] == 6, "two of six recordings are held out, three clips each"
    names = (folder / "scores").glob("anomaly_score_*.csv")
    assert "section_00_test_normal_0000_day" in next(names).read_text()
    assert here("evaluate", folder).stdout.strip(), "score files speak for themselves"
    again = here(
        "test", "--ckpt_path", folder / "checkpoints/last.ckpt", "--outputs.pictures=false", "--out=again"
    )  # fmt: skip
    second = tmp_path / again.stdout.strip().splitlines()[-1]
    for path in (folder / "scores").iterdir():
        assert (second / "scores" / path.name).read_text() == path.read_text()


def test_shards_disk_cache_noise_and_balance_work_together(here, synthetic: Path, tmp_path: Path) -> None:
    here("data", "shard", synthetic, "shards", "--megabytes", "1")
    recipe = next(path for path in RECIPES if path.stem == "dual_branch")
    path, _ = tiny(recipe, tmp_path)
    done = here(
        "fit", "--config", path, "--data", "Shards", "--data.root", "shards", "--data.seconds=1",
        "--data.batch_size=8", "--data.disk_cache", "cache", "--data.balance", "class",
        "--data.noise_mix", "NoiseMix", "--data.noise_mix.snr", "[0, 10]", "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1", *QUICK,
    )  # fmt: skip
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    assert 0 <= json.loads((folder / "results.json").read_text())["official_score"] <= 1
    assert len(list((tmp_path / "cache").glob("*.pcm"))) == 2
