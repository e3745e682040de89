"""Metrics and pictures reach the logger of choice; without network, too."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
LEAVES = {"wandb": "offline-run-*", "tensorboard": "events.out.tfevents.*"}


@pytest.mark.parametrize("path", sorted((CONFIGS / "logger").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_logger_takes_a_run(
    here, path: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = here(
        "fit", "--config", CONFIGS / "quickstart.yaml", "--config", path, "--data", "ToyADMOS2",
        "--data.root", synthetic, "--data.machines=null", "--data.seconds=1", "--model.encoder.seconds=1",
        "--model.encoder.width=4", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
    )  # fmt: skip
    assert "official score" in done.stdout
    assert list(tmp_path.rglob(LEAVES[path.stem]))
    run = tmp_path / "runs/quickstart/version_0"
    assert (run / "results.json").is_file(), "another logger does not rename the run"
    assert (run / "metrics.csv").is_file()
    assert done.stdout.rstrip().endswith("runs/quickstart/version_0")
