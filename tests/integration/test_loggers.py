"""Metrics and pictures reach the logger of choice; without network, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from tests.integration.test_resume import STOP
from tests.quick import QUICK

CONFIGS = Path(__file__).parents[2] / "configs"
SWEEPS = sorted((CONFIGS / "sweep").glob("*.yaml"))
SMALL = [
    "--data", "ToyADMOS2", "--data.machines=null", "--data.seconds=1", "--data.batch_size=8",
    "--model.encoder.seconds=1", "--model.encoder.width=4", "--trainer.max_epochs=1",
]  # fmt: skip
LEAVES = {"wandb": "offline-run-*", "wandb_online": "offline-run-*", "tensorboard": "events.out.tfevents.*"}


@pytest.fixture(autouse=True)
def one_run_each() -> Iterator[None]:
    """Another logger of the same process would go on with the run of the one before."""
    yield
    wandb.finish()


@pytest.mark.parametrize("path", sorted((CONFIGS / "logger").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_logger_takes_a_run(asd: Any, path: Path, synthetic: Path, tmp_path: Path) -> None:
    done = asd(
        "fit", "--config", CONFIGS / "quickstart.yaml", "--config", path, "--data", "ToyADMOS2",
        "--data.root", synthetic, "--data.machines=null", "--data.seconds=1", "--model.encoder.seconds=1",
        "--model.encoder.width=4", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", cwd=tmp_path,
    )  # fmt: skip
    assert "official score" in done.stdout
    assert list(tmp_path.rglob(LEAVES[path.stem]))
    run = tmp_path / "runs/quickstart/version_0"
    assert (run / "results.json").is_file(), "another logger does not rename the run"
    assert (run / "metrics.csv").is_file()
    assert "runs/quickstart/version_0" in done.stdout.splitlines()
    assert SHOWN[path.stem](tmp_path) >= {"config", "table", "score_histograms", "roc_curves"}


def test_a_resumed_run_is_the_same_to_wandb(asd: Any, synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "stop_callback.py").write_text(STOP)
    small = [*SMALL[:-1], "--data.root", synthetic, *QUICK, "--config", CONFIGS / "logger/wandb.yaml"]
    stop = ["--trainer.callbacks", "stop_callback.Stop", "--trainer.callbacks.kill=false"]
    runs = tmp_path / "runs/quickstart"

    asd(
        "fit", "--config", CONFIGS / "quickstart.yaml", *small, *stop, "--trainer.callbacks.epoch=1",
        "--trainer.max_epochs=2", cwd=tmp_path, expect=130,
    )  # fmt: skip
    asd("fit", *small, "--ckpt_path", runs / "version_0", "--trainer.callbacks=null",
        "--trainer.logger.name", "quickstart", cwd=tmp_path)  # fmt: skip
    first, second = sorted(tmp_path.glob("runs/wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    assert first.parent != second.parent
    assert first.name == second.name, "the id of a run is in the name of its file"
    assert [epochs(path) for path in (first, second)] == [{0}, {1, 2}]
    logger = yaml.safe_load((runs / "version_1/config.yaml").read_text())["trainer"]["logger"][-1]
    assert logger["init_args"]["id"] is None, "whoever trains by it anew has another run"


def epochs(path: Path) -> set[int]:
    """Which epochs a file of wandb holds figures of: a key of its protocol, behind its tag and length a number."""
    content = path.read_bytes()
    found = [match.end() for match in re.finditer(rb"\x05epoch\x82\x01.", content, re.S)]
    return {int(content[at : at + content[at - 1]]) for at in found}


def shown_by_wandb(folder: Path) -> set[str]:
    files = next(folder.rglob("offline-run-*")) / "files"
    config = next(folder.rglob("*.wandb")).read_bytes()
    scores, machines = (
        json.loads(next(files.rglob(f"{name}*.table.json")).read_text()) for name in ("scores", "machines")
    )
    assert len(scores["data"]) == 32
    assert scores["columns"][:4] == ["name", "machine", "section", "score"]
    assert [row[0] for row in machines["data"]] == ["bearing", "fan"]
    found = {"config"} if b"DualBranchCNN" in config else set()
    return found | {"table"} | {re.split(r"_\d+_", path.name)[0] for path in files.rglob("*.png")}


def shown_by_tensorboard(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(
        str(next(folder.rglob("events.out.tfevents.*")).parent), {"images": 0, "tensors": 0}
    ).Reload()
    text = {tag: seen.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in seen.Tags()["tensors"]}
    assert "DualBranchCNN" in text["config/text_summary"]
    assert "official score" in text["test/text_summary"]
    return {"config", "table"} | {tag.removeprefix("test/") for tag in seen.Tags()["images"]}


SHOWN = {"wandb": shown_by_wandb, "wandb_online": shown_by_wandb, "tensorboard": shown_by_tensorboard}


def drawn(parameter: dict[str, Any]) -> Any:
    """One of the values that a sweep may draw: the last, or the highest."""
    if "values" in parameter:
        return parameter["values"][-1]
    return parameter["value"] if "value" in parameter else parameter["max"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_what_the_agent_of_a_sweep_starts_runs(
    here: Any, path: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sweep = yaml.safe_load(path.read_text())
    values = {name: {"value": drawn(parameter)} for name, parameter in sweep["parameters"].items()}
    filled = {"${env}": [], "${args}": create_sweep_command_args({"args": values})["args"]}
    program, *words = [part for word in sweep["command"] for part in filled.get(word, [word])]
    assert program == sweep["program"] == "asd"
    here(*words, *SMALL, "--data.root", synthetic, *QUICK)
    (config,) = tmp_path.glob("runs/*/version_0/config.yaml")
    kept = yaml.safe_load(config.read_text())
    assert kept["seed_everything"] == 3
    assert list(tmp_path.rglob("offline-run-*"))
    for name in sweep["parameters"].keys() - {"data.root"}:
        assert told(kept, name) == values[name]["value"], name


def told(config: dict[str, Any], name: str) -> Any:
    """What a configuration says of a dotted name; of a class, its last name."""
    found: Any = config
    for part in name.split("."):
        found = found.get("init_args", found) if part not in found else found
        found = found[part]
    return found["class_path"].rpartition(".")[2] if isinstance(found, dict) else found
