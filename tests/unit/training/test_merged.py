"""A merged checkpoint scores like the one it was made from, wherever the adapters are in the encoder."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.bitfit import BitFit
from asd_plugins.dasheng import Dasheng
from asd_plugins.fusion import Fusion
from asd_plugins.lora import LoRA
from asd_plugins.seeds import SeedEnsemble

from asd.encoders import Encoder
from asd.errors import UserError
from asd.training import RunCheckpoint, checkpoints
from tests.unit.conftest import small_model

WAVES = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) / 10


def lora(encoder: Encoder) -> LoRA:
    adapted = LoRA(encoder, 2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if adapted.trains(name):
                parameter.normal_(std=0.1)
    return adapted


def ensemble() -> SeedEnsemble:
    made = SeedEnsemble(LoRA(BEATs.tiny(), 2), 2)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
    return made


def said(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


BEATS, DASHENG = said("BEATs", layers=2), said("Dasheng", bands=4)
CASES = {
    "itself": (lambda: lora(BEATs.tiny()), BEATs.tiny, said("LoRA", encoder=BEATS, rank=2), BEATS),
    "in an ensemble": (
        ensemble,
        lambda: SeedEnsemble(BEATs.tiny(), 2),
        said("SeedEnsemble", encoder=said("LoRA", encoder=BEATS), count=2),
        said("SeedEnsemble", encoder=BEATS, count=2),
    ),
    "in a fusion": (
        lambda: Fusion([lora(BEATs.tiny()), Dasheng.tiny()]),
        Fusion.tiny,
        said("Fusion", encoders=[said("LoRA", encoder=BEATS), DASHENG], align="time"),
        said("Fusion", encoders=[BEATS, DASHENG], align="time"),
    ),
    "around one within another": (
        lambda: lora(Fusion([BitFit(BEATs.tiny()), Dasheng.tiny()])),
        Fusion.tiny,
        said("LoRA", encoder=said("Fusion", encoders=[said("BitFit", encoder=BEATS), DASHENG])),
        said("Fusion", encoders=[BEATS, DASHENG]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_adapters_are_folded_in_wherever_they_are(case: str) -> None:
    made, plain, config, expected = CASES[case]
    model = small_model(encoder=made()).eval()
    described = checkpoints.describe({"model": {"encoder": config, "head": "kept"}}, ["a"], ["fan"])
    content = {"state_dict": model.state_dict(), checkpoints.KEY: described}
    merged = checkpoints.merged(content, model.encoder)
    assert merged[checkpoints.KEY]["config"] == {"model": {"encoder": expected, "head": "kept"}}
    assert described["config"]["model"]["encoder"] == config
    alone = plain().eval()
    alone.load_state_dict(
        {key.removeprefix("encoder."): v for key, v in merged["state_dict"].items() if key.startswith("encoder.")}
    )
    others = {key for key in content["state_dict"] if not key.startswith("encoder.")}
    assert others == {key for key in merged["state_dict"] if not key.startswith("encoder.")}
    with torch.no_grad():
        torch.testing.assert_close(alone(WAVES), model.encoder(WAVES), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_only_what_has_nothing_to_merge_is_refused(case: str) -> None:
    made, plain, *_ = CASES[case]
    callback, trainer = RunCheckpoint(merge=True), pl.Trainer(logger=False, accelerator="cpu")
    callback.setup(trainer, small_model(encoder=made()), "fit")
    with pytest.raises(UserError, match=f"{type(plain()).__name__} has nothing to merge; set it where the encoder, or"):
        callback.setup(trainer, small_model(encoder=plain()), "fit")
