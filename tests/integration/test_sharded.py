"""Weights divided among processes: the run that whole copies give, and checkpoints like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asd.inference import Detector
from tests.forked import Forked, free_port, ranks
from tests.quick import QUICK

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = [
    "--data", "ToyADMOS2", "--data.seconds=1", "--data.machines=[fan]", "--data.batch_size=8", *QUICK,
    "--model.encoder", "Dasheng", "--model.encoder.shape.width=16", "--model.encoder.shape.depth=2",
    "--model.encoder.shape.heads=2", "--model.adapter", "Adapter", "--model.adapter.embedding_dim=8",
    "--trainer.devices=2", "--trainer.gradient_clip_val=1.0",
]  # fmt: skip
SHARDED = ["--config", CONFIGS / "cluster/fsdp.yaml", *SMALL, "--warmup.epochs=1"]


def fitted(cwd: Path, *arguments: object) -> dict[str, Any]:
    """The last checkpoint of a run of two processes."""
    started = [Forked("fit", *arguments, cwd=cwd, **one) for one in ranks(2, free_port())]
    first, _ = [one.ended() for one in started]
    path = cwd / first.stdout.strip().splitlines()[-1] / "checkpoints/last.ckpt"
    return {**torch.load(path, weights_only=True), "path": path}


def test_a_sharded_run_is_that_of_whole_copies_and_its_checkpoint_scores(synthetic: Path, tmp_path: Path) -> None:
    options = ["--data.root", synthetic, "--trainer.max_epochs=2"]
    sharded = fitted(tmp_path, *SHARDED, *options)
    whole = fitted(tmp_path, *SMALL, "--trainer.strategy=ddp", "--warmup.epochs=1", *options)
    torch.testing.assert_close(sharded["state_dict"], whole["state_dict"], rtol=1e-3, atol=1e-5)
    clip = min((synthetic / "dev_data/raw/fan/test").iterdir())
    scores = [Detector.load(one["path"]).score(clip, machine="fan").score for one in (sharded, whole)]
    torch.testing.assert_close(*scores, rtol=1e-2, atol=1e-6)
    longer = ["--data.root", synthetic, "--trainer.max_epochs=3"]
    expected = fitted(tmp_path, *SHARDED, *longer)
    for options in (SHARDED, [*SMALL, "--warmup.epochs=1", "--trainer.strategy=ddp"]):
        again = fitted(tmp_path, *options, *longer, "--ckpt_path", sharded["path"])
        torch.testing.assert_close(again["state_dict"], expected["state_dict"], rtol=1e-3, atol=1e-5)
