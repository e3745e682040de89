"""BEATs equals the authors' implementation, and takes their files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.beats import BEATs, audioset_predictor, from_authors
from asd_plugins.beats_layers import BEATsShape
from safetensors.torch import load_file
from torch import Tensor

from asd.errors import UserError

TOLERANCE = 2e-5
GOLDEN = BEATsShape(depth=3, width=64, hidden=128, heads=4, patch_width=32, position_kernel=16, position_groups=4)
LENGTHS = ["1s", "2.05s", "10s"]


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden"


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


def second_half_of_clip_two(wave: Tensor, frames: int) -> Tensor:
    """The mask of the reference: samples to frames, a frame being masked where all its samples are."""
    samples = torch.zeros(wave.shape, dtype=torch.bool)
    samples[1, wave.shape[1] // 2 :] = True
    return samples[:, : wave.shape[1] // frames * frames].unflatten(1, (frames, -1)).all(2)


@pytest.mark.parametrize("length", LENGTHS)
def test_pretrained_outputs_are_those_of_the_authors(golden: Path, length: str) -> None:
    tensors = load_file(golden / "beats_ssl.safetensors")
    encoder = BEATs(shape=GOLDEN, weights=str(golden / "beats_ssl.pt")).eval()
    wave = tensors[f"wave_{length}"]
    with torch.no_grad():
        bank = encoder.spectrogram(wave)
        assert gap(bank, tensors[f"fbank_{length}"]) <= 1e-4
        assert gap(encoder(wave)[:, -1], tensors[f"output_{length}"]) <= TOLERANCE
        masked = encoder.encode(bank, second_half_of_clip_two(wave, bank.shape[1]))[:, -1]
    kept = tensors[f"masked_tokens_{length}"] == 0
    assert not kept.all()
    assert gap(masked[kept], tensors[f"masked_output_{length}"][kept]) <= TOLERANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_finetuned_outputs_are_those_of_the_authors(golden: Path, length: str) -> None:
    tensors = load_file(golden / "beats_finetuned.safetensors")
    file = str(golden / "beats_finetuned.pt")
    encoder, predictor = BEATs(shape=GOLDEN, weights=file).eval(), audioset_predictor(file)
    wave = tensors[f"wave_{length}"]
    with torch.no_grad():
        bank = encoder.spectrogram(wave)
        tokens = encoder.encode(bank)[:, -1]
        assert gap(tokens, tensors[f"tokens_{length}"]) <= TOLERANCE
        assert gap(predictor(tokens).mean(1).sigmoid(), tensors[f"output_{length}"]) <= TOLERANCE
        padding = second_half_of_clip_two(wave, bank.shape[1])
        masked = predictor(encoder.encode(bank, padding)[:, -1])
    count = masked.shape[1]
    hidden = padding[:, : padding.shape[1] // count * count].unflatten(1, (count, -1)).all(2)
    means = [rows[~out].mean(0) for rows, out in zip(masked, hidden, strict=True)]
    assert gap(torch.stack(means).sigmoid(), tensors[f"masked_output_{length}"]) <= TOLERANCE


@pytest.mark.parametrize("layout", ["beats_ssl", "beats_finetuned"])
def test_full_size_files_fit_key_by_key(golden: Path, layout: str) -> None:
    keys = json.loads((golden / "key_layouts.json").read_text())[layout]
    with torch.device("meta"):
        own = BEATs().state_dict()
        state = {key: torch.empty(shape) for key, shape in keys.items() if not key.startswith("predictor.")}
    theirs = from_authors(state)
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in own.items()}


def test_layers_are_the_last_ones(golden: Path) -> None:
    file, wave = str(golden / "beats_ssl.pt"), torch.randn(1, 8000)
    with torch.no_grad():
        two = BEATs(layers=2, shape=GOLDEN, weights=file).eval()(wave)
        one = BEATs(layers=1, shape=GOLDEN, weights=file).eval()(wave)
    assert two.shape[1] == 2
    assert torch.equal(two[:, 1:], one)
    assert not torch.equal(two[:, :1], one)


def train_mode_gradients(**options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    encoder = BEATs(shape=GOLDEN, **options).train()
    encoder(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters()}


def test_gradient_checkpointing_changes_no_gradient() -> None:
    plain, saving = train_mode_gradients(), train_mode_gradients(gradient_checkpointing=True)
    for name, gradient in plain.items():
        torch.testing.assert_close(saving[name], gradient, msg=name)


@pytest.mark.parametrize("saving", [False, True])
def test_the_bias_is_looked_up_once_for_all_layers(saving: bool) -> None:
    encoder = BEATs(shape=GOLDEN, gradient_checkpointing=saving).train()
    looked_up: list[Tensor] = []
    encoder.relative_bias.register_forward_hook(lambda module, inputs, rows: looked_up.append(rows))
    encoder(torch.randn(2, 16000)).sum().backward()
    assert len(looked_up) == 1


def test_gradient_decay_is_felt_layer_by_layer() -> None:
    plain, decayed = train_mode_gradients(), train_mode_gradients(gradient_decay=0.5)
    for depth, factor in ((2, 1.0), (1, 0.5), (0, 0.25)):
        name = f"blocks.{depth}.fc2.weight"
        torch.testing.assert_close(decayed[name], factor * plain[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (BEATsShape(2, 64, 128, 4, 32, 16, 4), "encoder_layers is 3; set shape.depth"),
        (BEATsShape(), "encoder_layers is 3; set shape.depth"),
    ],
)
def test_a_file_of_another_size_names_what_to_set(golden: Path, shape: BEATsShape, message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        BEATs(shape=shape, weights=str(golden / "beats_ssl.pt"))


def damaged(golden: Path, tmp_path: Path, change: dict[str, Any], drop: str = "") -> str:
    content = torch.load(golden / "beats_ssl.pt", weights_only=True)
    content["cfg"] |= change
    content["model"].pop(drop, None)
    torch.save(content, tmp_path / "changed.pt")
    return str(tmp_path / "changed.pt")


def test_unknown_settings_of_a_file_are_ignored_and_other_networks_refused(golden: Path, tmp_path: Path) -> None:
    BEATs(shape=GOLDEN, weights=damaged(golden, tmp_path, {"something_new": 1, "encoder_layerdrop": 0.9}))
    with pytest.raises(UserError, match="deep_norm is False"):
        BEATs(shape=GOLDEN, weights=damaged(golden, tmp_path, {"deep_norm": False}))


def test_the_size_is_read_from_the_file(golden: Path, tmp_path: Path) -> None:
    file = str(golden / "beats_ssl.pt")
    found = BEATs(weights=file)
    assert found.shape == GOLDEN
    assert BEATs(shape=BEATsShape(**found.settled["shape"])).shape == GOLDEN
    # Without `cfg` the tensors tell, all but how far positions are told apart, which is the same in all that exist.
    torch.save(torch.load(file, weights_only=True)["model"], tmp_path / "bare.pt")
    assert BEATs(weights=str(tmp_path / "bare.pt")).shape == GOLDEN
    with pytest.raises(UserError, match=r"max_distance is 200; set shape\.max_distance"):
        BEATs(shape=GOLDEN, weights=damaged(golden, tmp_path, {"max_distance": 200}))
    assert BEATs(weights=damaged(golden, tmp_path, {"max_distance": 200})).shape.max_distance == 200


def test_settings_as_fairseq_keeps_them_are_read(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / "beats_ssl.pt", weights_only=True)
    torch.save({**content, "cfg": argparse.Namespace(**content["cfg"])}, tmp_path / "args.pt")
    assert BEATs(weights=str(tmp_path / "args.pt")).shape == GOLDEN
    content["cfg"]["deep_norm"] = False
    torch.save({**content, "cfg": argparse.Namespace(**content["cfg"])}, tmp_path / "args.pt")
    with pytest.raises(UserError, match="deep_norm is False"):
        BEATs(weights=str(tmp_path / "args.pt"))


def test_the_names_of_newer_pytorch_are_read(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / "beats_ssl.pt", weights_only=True)
    for part, number in (("weight_g", 0), ("weight_v", 1)):
        value = content["model"].pop(f"encoder.pos_conv.0.{part}")
        content["model"][f"encoder.pos_conv.0.parametrizations.weight.original{number}"] = value
    torch.save(content, tmp_path / "newer.pt")
    newer = BEATs(weights=str(tmp_path / "newer.pt")).state_dict()
    for key, value in BEATs(weights=str(golden / "beats_ssl.pt")).state_dict().items():
        assert torch.equal(newer[key], value), key


def test_a_file_that_promises_more_layers_than_it_holds_is_refused(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / "beats_ssl.pt", weights_only=True)
    content["model"] |= {f"encoder.layers.{number}.x": torch.zeros(1) for number in range(3, 10000)}
    torch.save(content, tmp_path / "deep.pt")
    with pytest.raises(UserError, match=r"promises a network of [\d,]+ numbers, but holds"):
        BEATs(weights=str(tmp_path / "deep.pt"))


def test_a_missing_key_is_named(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no key blocks\.1\.fc1\.weight"):
        BEATs(shape=GOLDEN, weights=damaged(golden, tmp_path, {}, "encoder.layers.1.fc1.weight"))


def test_a_file_of_another_kind_is_refused(golden: Path) -> None:
    with pytest.raises(UserError, match=r"dasheng\.pt is no file of BEATs: it holds Dasheng \(0\.\d+ M numbers\)"):
        BEATs(shape=GOLDEN, weights=str(golden / "dasheng.pt"))
    with pytest.raises(UserError, match=r"no key predictor\.weight"):
        audioset_predictor(str(golden / "beats_ssl.pt"))


@pytest.mark.parametrize(
    ("options", "message"), [({"layers": 13}, "layers is 13"), ({"gradient_decay": 0}, "gradient_decay is 0")]
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BEATs(**options)


def test_clips_shorter_than_a_patch() -> None:
    encoder = BEATs.tiny().eval()
    with pytest.raises(UserError, match="at least 16"):
        encoder(torch.zeros(1, 2799))
    assert encoder(torch.zeros(1, 2800)).isfinite().all()
