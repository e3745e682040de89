"""Features are stored once, heads are trained on them, and the checkpoint scores recordings."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

import asd
from asd.utils import configs
from tests.quick import QUICK

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPE = {
    "width": 16, "depth": 4, "heads": 2, "hidden": 32, "patch_width": 8, "position_kernel": 8, "position_groups": 2,
}  # fmt: skip


def test_heads_are_trained_on_what_predict_stored(here, synthetic: Path, tmp_path: Path) -> None:
    recipe = configs.read(CONFIGS / "recipe/beats.yaml")
    recipe["model"]["encoder"]["init_args"] |= {"weights": None, "shape": SHAPE}
    (tmp_path / "beats.yaml").write_text(yaml.safe_dump(recipe))
    both = ("--config", tmp_path / "beats.yaml", "--config", CONFIGS / "encoder/frozen.yaml", *QUICK)
    here(
        "predict", *both, "--data.root", synthetic, "--data.seconds=1", "--outputs.folder=frozen",
        "--outputs.also=[pooled]",
    )  # fmt: skip
    stored = ("--data", "Stored", "--data.store=frozen", "--data.seconds=1")
    done = here("fit", *both, *stored, "--trainer.max_epochs=2")
    checkpoint = tmp_path / done.stdout.strip().splitlines()[-1] / "checkpoints/last.ckpt"
    assert "official score" in here("test", "--ckpt_path", checkpoint, *QUICK).stdout
    clip = next(iter(sorted((synthetic / "dev_data/raw/fan/test").iterdir())))
    assert math.isfinite(asd.Detector.load(checkpoint).score(clip, machine="fan").score)
    here("explain", clip, "--checkpoint", checkpoint, "--machine", "fan", "--out", "why")
    refused = here("fit", *both, *stored, "--warmup.epochs=0", expect=2)
    assert refused.stderr.strip().splitlines()[-1].endswith("set warmup.epochs to -1")
