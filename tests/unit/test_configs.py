"""Every config file is understood by the program, alone or after a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
# Grids and ensembles are read by commands of their own, whose tests take them.
FILES = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name not in ("grid", "ensemble"))
RECIPE = CONFIGS / "recipe" / "dual_branch.yaml"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_is_understood(path: Path, parse) -> None:
    complete = path.parent.name in ("configs", "recipe")
    configs = [path] if complete else [RECIPE, path]
    flags = [part for config in configs for part in ("--config", str(config))]
    config = parse(["fit", *flags, "--data.root", "somewhere"])
    assert str(config.data.init_args.root) == "somewhere"
    assert config.model.encoder.class_path


@pytest.mark.parametrize("path", sorted((CONFIGS / "cluster").glob("*.yaml")), ids=lambda path: path.stem)
def test_clusters_run_ddp(path: Path, parse) -> None:
    assert parse(["fit", "--config", str(RECIPE), "--config", str(path)]).trainer.strategy == "ddp"
