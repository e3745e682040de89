"""An encoder's file of weights is called `weights`; what earlier versions wrote as `checkpoint` still loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from asd_plugins.beats import BEATs
from asd_plugins.lora import LoRA

from asd.cli.arguments import options
from asd.cli.kept import with_checkpoint
from asd.training import checkpoints
from asd.training.module import AnomalyDetector
from asd.training.restore import restore

NO_FILE = "/nowhere/beats.pt"


def old_config() -> dict[str, Any]:
    """As an earlier version wrote it, the encoder inside another one."""
    arguments = {"checkpoint": NO_FILE, "layers": 2, "shape": asdict(BEATs.tiny().shape)}
    inner = {"class_path": "BEATs", "init_args": arguments}
    encoder = {"class_path": "LoRA", "init_args": {"rank": 2, "encoder": inner}}
    data = {"class_path": "ToyADMOS2", "init_args": {"root": "d"}}
    return {"model": {"encoder": encoder}, "data": data, "trainer": {}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of an earlier version."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    detector = AnomalyDetector(LoRA(BEATs.tiny(), rank=2))
    detector.build(["a", "b"], ["fan_section_00"])
    described = checkpoints.describe(old_config(), ["a", "b"], ["fan_section_00"])
    torch.save({"state_dict": detector.state_dict(), checkpoints.KEY: described}, folder / "checkpoints" / "last.ckpt")
    (folder / "config.yaml").write_text(yaml.safe_dump(old_config()))
    return folder


def test_an_old_checkpoint_restores_without_its_file_of_weights(run: Path) -> None:
    detector, config = restore(run)
    inner = config["model"]["encoder"]["init_args"]["encoder"]
    assert inner["init_args"]["weights"] is None
    assert "checkpoint" not in inner["init_args"]
    assert detector.classes == ("a", "b")


def test_the_config_of_an_old_run_goes_with_its_checkpoint(run: Path, parse: Callable[[list[str]], Any]) -> None:
    arguments = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run)]
    for given in (arguments, ["test", f"--config={run / 'config.yaml'}", *arguments[3:]]):
        with with_checkpoint(given) as complete:
            texts = [Path(path).read_text() for _, _, path in options(complete, ("--config",))]
            found = parse(complete).model.encoder.init_args.encoder.init_args
        assert len(texts) == 2
        assert found.weights == NO_FILE
        assert "checkpoint" not in found


def test_the_name_of_today_beats_the_old_one() -> None:
    encoder = {"class_path": "BEATs", "init_args": {"checkpoint": "old", "weights": "new", "layers": 2}}
    config = checkpoints.of_today({"model": {"encoder": encoder}, "checkpoint": {"merge": True}})
    assert config["model"]["encoder"]["init_args"] == {"weights": "new", "layers": 2}
    assert config["checkpoint"] == {"merge": True}, "the block of a run's checkpoints keeps its name"


NEW_NAME = "is called weights now"


def test_the_old_name_on_the_command_line_names_the_new_one(here: Callable[..., Any]) -> None:
    done = here("fit", "--model.encoder", "BEATs", "--model.encoder.checkpoint", "x", expect=2)
    assert NEW_NAME in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("nested", [False, True])
def test_the_old_name_in_a_config_names_the_new_one(nested: bool, here: Callable[..., Any], tmp_path: Path) -> None:
    encoder: dict[str, Any] = {"class_path": "BEATs", "init_args": {"checkpoint": "x"}}
    if nested:
        encoder = {"class_path": "Fusion", "init_args": {"encoders": [encoder, {"class_path": "Dasheng"}]}}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump({"model": {"encoder": encoder}}))
    assert NEW_NAME in here("fit", "--config", "old.yaml", expect=2).stderr
