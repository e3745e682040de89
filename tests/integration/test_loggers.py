"""Metrics and pictures reach the logger of choice; without network, too."""

from __future__ import annotations

import json
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
    assert SHOWN[path.stem](tmp_path) >= {"config", "table", "score_histograms", "roc_curves"}


def shown_by_wandb(folder: Path) -> set[str]:
    files = next(folder.rglob("offline-run-*")) / "files"
    config = next(folder.rglob("*.wandb")).read_bytes()
    scores, machines = (
        json.loads(next(files.rglob(f"{name}*.table.json")).read_text()) for name in ("scores", "machines")
    )
    assert len(scores["data"]) == 32
    assert scores["columns"][:4] == ["name", "machine", "section", "score"]
    assert [row[0] for row in machines["data"]] == ["bearing", "fan"]
    pictures = {path.name.split("_")[0] for path in files.rglob("*.png")}
    assert pictures == {"test"}
    found = {"config"} if b"DualBranchCNN" in config else set()
    return found | {"table"} | ({"score_histograms", "roc_curves"} if len(list(files.rglob("*.png"))) >= 3 else set())


def shown_by_tensorboard(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(
        str(next(folder.rglob("events.out.tfevents.*")).parent), {"images": 0, "tensors": 0}
    ).Reload()
    text = {tag: seen.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in seen.Tags()["tensors"]}
    assert "DualBranchCNN" in text["config/text_summary"]
    assert "official score" in text["test/text_summary"]
    return {"config", "table"} | {tag.removeprefix("test/") for tag in seen.Tags()["images"]}


SHOWN = {"wandb": shown_by_wandb, "tensorboard": shown_by_tensorboard}
