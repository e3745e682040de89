"""Averaged weights: the checkpoint holds what was validated, and a resumed run goes on from the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asd.errors import UserError
from asd.training.averaging import AveragedWeights
from tests.quick import QUICK

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "--config", CONFIG, "--data", "ToyADMOS2", "--data.machines=null", "--data.seconds=1", "--data.batch_size=8",
    "--model.encoder.seconds=1", "--model.encoder.width=4", *QUICK,
    "--trainer.callbacks", "asd.training.averaging.AveragedWeights", "--trainer.callbacks.decay=0.9",
]  # fmt: skip


def run(done, cwd: Path) -> Path:
    return cwd / done.stdout.strip().splitlines()[-1]


def scores(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "scores").iterdir()}


def checkpoint(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def test_the_average_is_scored_saved_and_resumed(here, synthetic: Path, tmp_path: Path) -> None:
    whole = run(here("fit", *SMALL, "--data.root", synthetic, "--trainer.max_epochs=3"), tmp_path)
    content = checkpoint(whole)
    key = "encoder.spectrum_branch.head.weight"
    assert not torch.equal(content["state_dict"][key], content["averaged_weights"][key])
    assert content["state_dict"]["sections.thresholds"].isfinite().all()

    again = run(here("test", "--ckpt_path", whole / "checkpoints/last.ckpt", "--out=again"), tmp_path)
    assert scores(again) == scores(whole)

    # The same run in two parts: the schedule is constant, so the first part is the beginning of the whole.
    first = run(here("fit", *SMALL, "--data.root", synthetic, "--trainer.max_epochs=2"), tmp_path)
    second = run(
        here(
            "fit", "--ckpt_path", first / "checkpoints/last.ckpt", "--trainer.max_epochs=3", "--data.root", synthetic
        ),
        tmp_path,
    )  # fmt: skip
    resumed = checkpoint(second)
    for part in ("state_dict", "averaged_weights"):
        torch.testing.assert_close(resumed[part][key], content[part][key], rtol=1e-4, atol=1e-6)


def test_decay_out_of_range() -> None:
    with pytest.raises(UserError, match=r"decay is 1\.0"):
        AveragedWeights(1.0)
