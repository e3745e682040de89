"""Training with a compiled encoder: the same run, the same checkpoints, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from asd import plugins
from asd.encoders.base import Encoder
from asd.inference import Detector
from asd.training.quickened import compile_encoder
from tests.integration.test_resume_in_full import differences
from tests.quick import QUICK

SMALL = [
    "--data", "ToyADMOS2", "--data.seconds=0.5", "--data.machines=[fan]", "--data.batch_size=8", "--warmup.epochs=1",
    "--model.encoder", "Autoencoder", "--model.encoder.seconds=0.5", "--model.encoder.bands=16", *QUICK,
]  # fmt: skip
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")


def fitted(here: Any, synthetic: Path, epochs: int, *more: object) -> dict[str, Any]:
    """The last checkpoint of a run."""
    done = here("fit", *SMALL, "--data.root", synthetic, f"--trainer.max_epochs={epochs}", *more)
    path = Path.cwd() / done.stdout.strip().splitlines()[-1] / "checkpoints/last.ckpt"
    return {**torch.load(path, weights_only=True), "path": path}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not differences({key: one[key] for key in STATE}, {key: other[key] for key in STATE})


def test_a_compiled_run_is_the_same_and_goes_on_either_way(here: Any, synthetic: Path) -> None:
    compiled = fitted(here, synthetic, 3, "--model.compile=eager")
    assert compiled["asd"]["config"]["model"]["compile"] == "eager"
    assert not [key for key in compiled["state_dict"] if "_orig_mod" in key]
    half = fitted(here, synthetic, 2)
    plain = fitted(here, synthetic, 3, "--ckpt_path", half["path"])
    assert_same(plain, compiled)
    assert_same(fitted(here, synthetic, 3, "--ckpt_path", half["path"], "--model.compile=eager"), compiled)
    half = fitted(here, synthetic, 2, "--model.compile=eager")
    assert_same(fitted(here, synthetic, 3, "--ckpt_path", half["path"], "--model.compile=false"), compiled)
    clips = sorted((synthetic / "dev_data/raw/fan/test").iterdir())[:3]
    scores = [
        [Detector.load(one["path"]).score(clip, machine="fan").score for clip in clips] for one in (plain, compiled)
    ]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_the_usual_compiler_changes_nothing_but_roundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plugins.load_all()
    encoder = plugins.resolve("Autoencoder", Encoder).tiny().train()
    waveform = 0.1 * torch.randn(2, 16000)
    made = []
    for backend in (False, True):
        compile_encoder(encoder, backend)
        loss = encoder(waveform).square().mean()
        made.append([loss, *torch.autograd.grad(loss, list(encoder.parameters()))])
    torch.testing.assert_close(made[1], made[0], rtol=1e-3, atol=1e-4)
    assert list(tmp_path.rglob("*.so")), "nothing was compiled"


def test_what_cannot_be_compiled_is_said(
    here: Any, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = here("fit", *SMALL, "--data.root", synthetic, "--model.compile=fastest", expect=2)
    assert "model.compile is 'fastest'; give true, false or a backend: " in done.stderr
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "absent")))
    done = here("fit", *SMALL, "--data.root", synthetic, "--model.compile=true", "--trainer.max_epochs=2", expect=2)
    assert done.stderr.strip().splitlines()[-1].startswith("asd: error: the compiler of torch failed (")
    assert "--model.compile false" in done.stderr
