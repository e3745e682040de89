"""LoRA on top of a recipe; the merged checkpoint scores like the one it was made from, without peft."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.quick import QUICK

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPE = {
    "width": 16, "depth": 4, "heads": 2, "hidden": 32, "patch_width": 8, "position_kernel": 8, "position_groups": 2,
}  # fmt: skip


def test_lora_trains_resumes_and_merges(here, synthetic: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((CONFIGS / "encoder/lora.yaml").read_text())
    config["model"]["encoder"]["init_args"]["encoder"]["init_args"] |= {"weights": None, "shape": SHAPE}
    (tmp_path / "lora.yaml").write_text(yaml.safe_dump(config))
    done = here(
        "fit", "--config", CONFIGS / "recipe/beats.yaml", "--config", tmp_path / "lora.yaml", "--data.root", synthetic,
        "--data.seconds=1", "--data.batch_size=8", "--trainer.max_epochs=3", *QUICK,
    )  # fmt: skip
    folder = tmp_path / done.stdout.strip().splitlines()[-1]
    content = torch.load(folder / "checkpoints/merged.ckpt", weights_only=True)
    assert not [key for key in content["state_dict"] if "lora" in key]
    assert content["asd"]["config"]["model"]["encoder"]["class_path"].endswith("BEATs")
    tables = []
    for name in ("last", "merged"):
        again = here("test", "--ckpt_path", folder / f"checkpoints/{name}.ckpt", *QUICK)
        scores = tmp_path / again.stdout.strip().splitlines()[-1] / "scores/anomaly_score_fan_section_00_test.csv"
        tables.append([float(line.split(",")[1]) for line in scores.read_text().splitlines()])
    assert tables[1] == pytest.approx(tables[0], rel=1e-3, abs=1e-6)
    here("fit", "--ckpt_path", folder / "checkpoints/last.ckpt", "--trainer.max_epochs=4", *QUICK)


def test_merging_without_lora_is_refused(here, synthetic: Path) -> None:
    done = here(
        "fit", "--config", CONFIGS / "quickstart.yaml", "--data", "ToyADMOS2", "--data.root", synthetic,
        "--data.machines=null", "--data.seconds=1", "--model.encoder.seconds=1", "--trainer.max_epochs=1",
        "--checkpoint.merge=true", *QUICK, expect=2,
    )  # fmt: skip
    assert "nothing to merge" in done.stderr
