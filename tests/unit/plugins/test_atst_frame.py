"""ATST-Frame equals the authors' implementation but for its fault, and takes their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asd_plugins.atst_frame import ATSTFrame, ATSTShape
from asd_plugins.dasheng import Dasheng
from safetensors.torch import load_file
from torch import Tensor

from asd.errors import UserError
from tests.golden_weights import LAYOUTS, made_for, stored

TOLERANCE, FRONT_END = 2e-5, 5e-5
GOLDEN = ATSTShape(width=128, depth=3, heads=2)
SMALL = ATSTShape(16, 2, 2)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden2"


@pytest.fixture
def weights(golden: Path, tmp_path: Path) -> str:
    """A pre-trained file, whose student has other weights than its teacher."""
    state = {}
    for key, value in stored(golden / "atstframe_a_small.safetensors").items():
        state |= {f"model.teacher.encoder.{key}": value, f"model.student.encoder.{key}": torch.zeros_like(value)}
    state["model.teacher.projector.0.weight"] = torch.ones(8, 128)
    # Lightning keeps the best score as a scalar of numpy.
    torch.save({"state_dict": state, "callbacks": {"best": np.float64(0.5)}, "epoch": 3}, tmp_path / "atst.ckpt")
    return str(tmp_path / "atst.ckpt")


def waves(golden: Path) -> dict[str, Tensor]:
    tensors = load_file(golden / "waves_16000.safetensors")
    return {key.removeprefix("wave_"): value.float() / 32768 for key, value in tensors.items()}


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


def scene(features: Tensor) -> Tensor:
    """The authors' embedding of clips: the mean of the means of chunks, all layers side by side."""
    return torch.stack([chunk.mean(2) for chunk in features.split(250, dim=2)]).mean(0).flatten(1)


def test_the_front_end_is_that_of_the_authors(golden: Path) -> None:
    tensors, wave = load_file(golden / "atstframe_frontend.safetensors"), waves(golden)
    silent = wave["1"].clone()
    silent[8000:] *= 1e-7
    encoder = ATSTFrame(shape=SMALL)
    for name in ("1", "2.05", "10"):
        assert gap(encoder.spectrogram(wave[name][None])[0].mT, tensors[f"mel_{name}"]) <= FRONT_END
    # Each clip of a batch is cut off below its own maximum.
    beside = encoder.spectrogram(torch.stack([silent, 100 * wave["1"]]))
    assert gap(beside[0].mT, tensors["mel_halfsilent_1"]) <= FRONT_END


@pytest.mark.parametrize("length", ["1", "2.05", "10", "12.3"])
def test_outputs_are_those_of_the_authors(golden: Path, weights: str, length: str) -> None:
    tensors = load_file(golden / "atstframe_a_small.safetensors")
    encoder = ATSTFrame(layers=3, weights=weights).eval()
    with torch.no_grad():
        features = encoder(waves(golden)[length][None])
    assert gap(features[0, -1], tensors[f"timestamp_{length}"]) <= TOLERANCE
    assert gap(scene(features)[0], tensors[f"scene_{length}"]) <= TOLERANCE
    if length == "1":
        assert gap(features[0].transpose(0, 1).flatten(1), tensors["timestamp_all_1"]) <= TOLERANCE


def test_batches_and_padding_are_those_of_the_authors(golden: Path, weights: str) -> None:
    tensors, wave = load_file(golden / "atstframe_a_small.safetensors"), waves(golden)
    encoder = ATSTFrame(layers=3, weights=weights).eval()
    with torch.no_grad():
        pair = torch.stack([wave["1"], 0.5 * wave["1"].flip(0)])
        assert gap(scene(encoder(pair)), tensors["batch2_scene"]) <= TOLERANCE
        spectrogram = encoder.spectrogram(wave["2.05"][None])
        padding = torch.arange(spectrogram.shape[1])[None] >= 101
        heard = encoder.encode(spectrogram, padding)[:, :, :25]
    assert gap(heard.mean(2).flatten(1)[0], tensors["masked101_scene_2.05"]) <= TOLERANCE


@pytest.mark.slow
def test_full_size_outputs_are_those_of_the_authors(golden: Path, tmp_path: Path) -> None:
    tensors = load_file(golden / "atstframe_base_full.safetensors")
    state = made_for(golden / "atstframe_base_full.safetensors", "atstframe_base_encoder")
    torch.save({"state_dict": {f"encoder.encoder.{key}": v for key, v in state.items()}}, tmp_path / "base.ckpt")
    encoder = ATSTFrame(layers=12, weights=str(tmp_path / "base.ckpt")).eval()
    assert encoder.shape == ATSTFrame.sizes["base"]
    for length in ("1", "2.05", "10"):
        with torch.no_grad():
            features = encoder(waves(golden)[length][None])
        assert gap(scene(features)[0], tensors[f"scene_{length}"]) <= TOLERANCE
        if length == "1":
            assert gap(features[0, -1], tensors["timestamp_last_1"]) <= TOLERANCE


@pytest.mark.parametrize("size", ["small", "base"])
def test_full_size_files_fit_key_by_key(golden: Path, size: Any) -> None:
    keys = json.loads((golden / LAYOUTS).read_text())[f"atstframe_{size}_encoder"]
    del keys["mask_embed"]
    with torch.device("meta"):
        own = ATSTFrame(size=size).state_dict()
    assert {key: list(value.shape) for key, value in own.items()} == keys


@pytest.mark.parametrize("prefix", ["encoder.encoder.", "model.atst.", ""])
def test_fine_tuned_files_are_read_whatever_their_prefix(golden: Path, tmp_path: Path, prefix: str) -> None:
    state = stored(golden / "atstframe_a_small.safetensors")
    content = {f"{prefix}{key}": value for key, value in state.items()}
    content |= {"head.weight": torch.ones(10, 128)} if prefix else {}
    torch.save({"state_dict": content}, tmp_path / "tuned.ckpt")
    own = ATSTFrame(weights=str(tmp_path / "tuned.ckpt")).state_dict()
    assert own.keys() == state.keys() - {"mask_embed"}
    assert all(torch.equal(value, state[key].float()) for key, value in own.items())


def test_the_size_is_read_from_the_file(weights: str) -> None:
    found = ATSTFrame(weights=weights)
    assert found.shape == GOLDEN
    assert ATSTShape(**found.settled["shape"]) == GOLDEN
    with pytest.raises(UserError, match=r"of another size: width 128 \(not 384\), depth 3 \(not 12\), heads 2"):
        ATSTFrame(size="small", weights=weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.3.norm1.weight": torch.ones(128)}, "promises a network of 786,432 numbers"),
        ({"norm_frame.weight": None}, r"no key norm_frame\.weight; the file is of another model"),
        ({"class_token": torch.ones(128)}, "unexpected key class_token"),
    ],
)
def test_keys_are_strict(golden: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    state = stored(golden / "atstframe_a_small.safetensors") | change
    torch.save({key: value for key, value in state.items() if value is not None}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        ATSTFrame(weights=str(tmp_path / "w.pt"))


def test_files_of_other_networks_are_called_by_their_names(golden: Path, weights: str, shared: Path) -> None:
    with pytest.raises(UserError, match=r"no file of ATST-Frame: it holds EAT, SSLAM or FISHER \("):
        ATSTFrame(weights=str(golden / "fisher.pt"))
    with pytest.raises(UserError, match=r"no file of ATST-Frame: it holds Dasheng \("):
        ATSTFrame(weights=str(shared / "golden/dasheng.pt"))
    with pytest.raises(UserError, match=r"no file of Dasheng: it holds ATST-Frame \("):
        Dasheng(weights=weights)


@pytest.mark.parametrize("frames", [1001, 1002, 1004, 1005, 2003, 2010])
def test_a_rest_that_is_no_token_changes_nothing(frames: int) -> None:
    torch.manual_seed(0)
    encoder = ATSTFrame(shape=SMALL).eval()
    spectrogram = torch.randn(2, frames, 64)
    whole, rest = divmod(frames, 1001)
    with torch.no_grad():
        features = encoder.encode(spectrogram)
        assert features.shape[2] == 250 * whole + rest // 4
        torch.testing.assert_close(features[:, :, :250], encoder.encode(spectrogram[:, :1000]))
        if rest >= 4:
            torch.testing.assert_close(features[:, :, 250 * whole :], encoder.encode(spectrogram[:, 1001 * whole :]))


def test_padding_that_fills_a_chunk_is_finite() -> None:
    encoder = ATSTFrame(shape=SMALL).eval()
    padding = torch.arange(1400)[None] >= 900
    assert encoder.encode(torch.randn(1, 1400, 64), padding).isfinite().all()


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for saving in (False, True):
        torch.manual_seed(0)
        encoder = ATSTFrame(shape=SMALL, gradient_checkpointing=saving).train()
        encoder(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_what_it_cannot_take() -> None:
    encoder = ATSTFrame(shape=SMALL).eval()
    with pytest.raises(UserError, match="ATSTFrame: clips of 3 frames; it needs at least 4, 30 ms"):
        encoder.encode(torch.zeros(1, 3, 64))
    assert encoder(torch.zeros(1, 10)).isfinite().all()
    with pytest.raises(UserError, match="layers is 3, but there are 2"):
        ATSTFrame(layers=3, shape=SMALL)
    with pytest.raises(UserError, match="size is 'large'; give small or base"):
        ATSTFrame(size="large")  # type: ignore[arg-type]
