"""EAT and SSLAM equal the authors' implementation, and take both layouts of their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.eat import EAT, EATShape, audioset_classifier
from asd_plugins.eat_layers import from_authors
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import Notice, UserError
from tests.forked import as_on_every_processor

TOLERANCE = 2e-5
GOLDEN = EATShape(width=64, depth=2, heads=4, max_length=96)
PRETRAINED = ["eat_pretrain_fairseq.pt", "eat_hf_pretrain"]
FINETUNED = ["eat_finetune_fairseq.pt", "eat_hf_finetune"]
LENGTHS = ["1s", "2.05s", "10s", "12s"]
ALL: Any = [1024, "auto"]
pytestmark = pytest.mark.filterwarnings("ignore::asd.errors.Notice")


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden2"


def clip(golden: Path, length: str) -> tuple[Tensor, dict[str, Tensor]]:
    tensors = load_file(golden / f"eat_{length}.safetensors")
    return tensors["wave"].float() / 32768, tensors


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("file", PRETRAINED)
@as_on_every_processor
def test_outputs_are_those_of_the_authors(golden: Path, file: str, length: str) -> None:
    wave, tensors = clip(golden, length)
    for target_length, name in ((1024, "tokens_1024"), ("auto", "tokens_var")):
        encoder = EAT(weights=str(golden / file), target_length=target_length).eval()
        with torch.no_grad():
            assert gap(encoder(wave)[:, -1], tensors[name]) <= TOLERANCE
            assert gap(encoder.filter_bank(wave - wave.mean(1, keepdim=True)), tensors["fbank"]) <= TOLERANCE


def test_every_layer_and_the_input_are_those_of_the_authors(golden: Path) -> None:
    wave, tensors = clip(golden, "1s")
    encoder = EAT(weights=str(golden / PRETRAINED[0]), target_length="auto", layers=2).eval()
    given: list[Tensor] = []
    encoder.trunk.pre_norm.register_forward_hook(lambda _, __, normalised: given.append(normalised))
    with torch.no_grad():
        spectrogram = encoder.spectrogram(wave)
        assert gap(spectrogram, tensors["input_var"][:, 0, : spectrogram.shape[1]]) <= TOLERANCE
        features = encoder.encode(spectrogram)
        # Padding is part of the input: louder than silence, and heard.
        assert gap(encoder.encode(tensors["input_var"][:, 0]), features) <= TOLERANCE
    assert gap(given[0], tensors["embed_var"]) <= TOLERANCE
    for number in range(2):
        assert gap(features[:, number], tensors[f"block{number}_var"]) <= TOLERANCE


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("file", FINETUNED)
def test_fine_tuned_outputs_are_those_of_the_authors(golden: Path, file: str, length: str) -> None:
    wave, tensors = clip(golden, length)
    path = str(golden / file)
    for target_length, name in ((1024, "1024"), ("auto", "var")):
        with torch.no_grad():
            token = EAT(weights=path, target_length=target_length, tokens="class").eval()(wave)
            assert gap(token[:, 0, 0], tensors[f"finetuned_cls_{name}"]) <= TOLERANCE
            assert gap(audioset_classifier(path)(token[:, 0, 0]), tensors[f"logits_{name}"]) <= TOLERANCE


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("layout", ["hf_pretrain", "hf_finetune", "fairseq_pretrain", "fairseq_finetune"])
def test_full_size_files_fit_key_by_key(golden: Path, size: Any, layout: str) -> None:
    keys = json.loads((golden / "key_layouts_eat_fisher.json").read_text())[f"eat_{size}_{layout}"]
    with torch.device("meta"):
        own = EAT(size=size).trunk.state_dict()
        theirs = from_authors({key.removeprefix("model."): torch.empty(shape) for key, shape in keys.items()})
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize(("size", "numbers"), [("base", 85_254_144), ("large", 302_575_616)])
def test_published_sizes_have_the_published_parameters(size: Any, numbers: int) -> None:
    with torch.device("meta"):
        encoder = EAT(size=size)
    assert sum(p.numel() for p in encoder.parameters()) == numbers


def test_the_student_is_taken_and_it_is_said(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    content["model"]["_ema"] = {key: torch.full_like(v, 7.0) for key, v in content["model"]["_ema"].items()}
    torch.save(content, tmp_path / "w.pt")
    with pytest.warns(Notice, match="holds averaged weights as well; those of model are taken"):
        encoder = EAT(weights=str(tmp_path / "w.pt"))
    assert torch.equal(encoder.trunk.extra_tokens, content["model"]["modality_encoders.IMAGE.extra_tokens"])


def changed(golden: Path, folder: Path, **change: Any) -> str:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    content["cfg"]["model"] |= change
    torch.save(content, folder / "changed.pt")
    return str(folder / "changed.pt")


def test_the_size_is_read_from_the_file(golden: Path, tmp_path: Path) -> None:
    for file in (*PRETRAINED, *FINETUNED, f"{PRETRAINED[1]}/model.safetensors"):
        found = EAT(weights=str(golden / file))
        assert found.shape == GOLDEN
        assert EATShape(**found.settled["shape"]) == GOLDEN
    # Alone, the tensors tell all but the heads, which are 64 wide in all published files.
    shutil.copy(golden / PRETRAINED[1] / "model.safetensors", tmp_path / "alone.safetensors")
    assert EAT(weights=str(tmp_path / "alone.safetensors")).shape.heads == 1
    with pytest.raises(UserError, match=r"of another size: depth 2 \(not 3\); set shape to that, or leave size"):
        EAT(weights=str(golden / PRETRAINED[0]), shape=EATShape(64, 3, 4, 96))
    with pytest.raises(UserError, match=r"of another size: width 64 \(not 1024\), depth 2 \(not 24\), heads 4"):
        EAT(weights=str(golden / PRETRAINED[0]), size="large")
    with pytest.raises(UserError, match="width 64, which does not divide into 5 heads"):
        EAT(weights=changed(golden, tmp_path, num_heads=5))


def test_half_precision_is_cast_the_table_too(golden: Path, tmp_path: Path) -> None:
    state = load_file(golden / PRETRAINED[1] / "model.safetensors")
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "model.safetensors")
    shutil.copy(golden / PRETRAINED[1] / "config.json", tmp_path)
    trunk = EAT(weights=str(tmp_path)).trunk
    assert {value.dtype for value in trunk.state_dict().values()} == {torch.float32}
    assert torch.equal(trunk.positions, state["model.fixed_positional_encoder.positions"].half().float())


def test_a_small_table_of_positions_is_taken_from_the_file(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    key = "modality_encoders.IMAGE.fixed_positional_encoder.positions"
    content["model"][key] = content["model"][key][:, : 64 * 8].clone()
    torch.save(content, tmp_path / "old.pt")
    assert EAT(weights=str(tmp_path / "old.pt")).shape.max_length == 64
    for positions in (100, 0):
        content["model"][key] = content["model"][key][:, :positions].clone()
        torch.save(content, tmp_path / "old.pt")
        with pytest.raises(UserError, match=f"a table of {positions} positions, which is no multiple of 8 rows"):
            EAT(weights=str(tmp_path / "old.pt"))
    content["model"][key] = content["model"][key][:0].clone()
    torch.save(content, tmp_path / "old.pt")
    with pytest.raises(UserError, match="a table of 0 positions"):
        EAT(weights=str(tmp_path / "old.pt"))


@pytest.mark.parametrize("value", [0.0, 0.8414709848])
def test_a_table_that_tells_nothing_is_no_other_network(golden: Path, tmp_path: Path, value: float) -> None:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    content["model"]["modality_encoders.IMAGE.fixed_positional_encoder.positions"].fill_(value)
    torch.save(content, tmp_path / "w.pt")
    assert EAT(weights=str(tmp_path / "w.pt")).shape == GOLDEN


def test_files_of_other_networks_are_called_by_their_names(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of FISHER, not of EAT"):
        EAT(weights=str(golden / "fisher.pt"))
    torch.save(torch.load(golden / "fisher.pt", weights_only=True)["model"], tmp_path / "bare.pt")
    with pytest.raises(UserError, match="is of FISHER, not of EAT"):
        EAT(weights=str(tmp_path / "bare.pt"))
    with pytest.raises(UserError, match=r"no file of EAT: it holds PaSST \("):
        EAT(weights=passt(golden, tmp_path))
    with pytest.raises(UserError, match=r"no file of BEATs: it holds EAT, SSLAM or FISHER \("):
        BEATs(weights=str(golden / PRETRAINED[0]))
    with pytest.raises(UserError, match="no file of a fine-tuned EAT: it holds EAT"):
        audioset_classifier(str(golden / PRETRAINED[0]))
    with pytest.raises(UserError, match="layer_norm_first is True, only False is supported"):
        EAT(weights=changed(golden, tmp_path, layer_norm_first=True))


def passt(golden: Path, folder: Path) -> str:
    tensors = load_file(golden / "passt_s16_a_small.safetensors")
    weights = {key.removeprefix("weights."): v for key, v in tensors.items() if key.startswith("weights.")}
    torch.save(weights, folder / "passt.pt")
    return str(folder / "passt.pt")


@pytest.mark.parametrize(
    ("add", "lose", "message"),
    [
        ("blocks.0.attn.rotary", None, r"unexpected key blocks\.0\.attn\.rotary; the file is of another model"),
        (None, "blocks.1.norm2.bias", r"no key blocks\.1\.norm2\.bias"),
        (None, "modality_encoders.IMAGE.fixed_positional_encoder.positions", "no key positions"),
    ],
)
def test_keys_are_strict(golden: Path, tmp_path: Path, add: str | None, lose: str | None, message: str) -> None:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    content["model"] |= {add: torch.ones(2)} if add else {}
    content["model"].pop(lose, None)
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        EAT(weights=str(tmp_path / "w.pt"))


def test_folders_that_lack_something(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a folder without model\.safetensors"):
        EAT(weights=str(tmp_path))
    shutil.copy(golden / PRETRAINED[1] / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text("<html>")
    with pytest.raises(UserError, match=r"config\.json is no JSON of settings"):
        EAT(weights=str(tmp_path))


def test_a_file_that_promises_more_layers_than_it_holds_is_refused(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / PRETRAINED[0], weights_only=True)
    content["model"] |= {f"blocks.{number}.x": torch.zeros(1) for number in range(3, 10000)}
    torch.save(content, tmp_path / "deep.pt")
    with pytest.raises(UserError, match=r"promises a network of [\d,]+ numbers, but holds"):
        EAT(weights=str(tmp_path / "deep.pt"))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for saving in (False, True):
        torch.manual_seed(0)
        encoder = EAT(target_length="auto", shape=GOLDEN, gradient_checkpointing=saving).train()
        encoder(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_a_fixed_length_cuts_and_pads_and_class_tokens_are_of_the_whole_clip() -> None:
    torch.manual_seed(0)
    fixed, token = (EAT(target_length=32, tokens=tokens, shape=EATShape(16, 2, 2, 8)) for tokens in ("all", "class"))
    token.load_state_dict(fixed.state_dict())
    wave = torch.randn(2, 16000)
    with torch.no_grad():
        features = fixed.eval()(wave)
        assert features.shape == (2, 1, 1 + 2 * 8, 16)
        assert fixed(wave[:, :400]).shape == features.shape
        assert torch.equal(token.eval()(wave), features[:, :, :1])
        assert token.layout.frames(token(wave)).shape == (2, 1, 1, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 13}, "layers is 13, but there are 12"),
        ({"size": "huge"}, "size is 'huge'; give base or large"),
        ({"tokens": "some"}, "tokens is 'some'; give all or class"),
        ({"target_length": 15}, "target_length is 15; give 16 to 12288 frames, or auto"),
        ({"target_length": 12289}, "target_length is 12289"),
        ({"target_length": "var"}, "target_length is var; give 16 to 12288 frames, or auto"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        EAT(**options)


def test_clips_that_positions_do_not_reach() -> None:
    encoder = EAT(target_length="auto", shape=EATShape(16, 2, 2, 4)).eval()
    longest = 400 + 63 * 160
    assert encoder(torch.zeros(1, longest)).shape == (1, 1, 1 + 4 * 8, 16)
    with pytest.raises(UserError, match=r"EAT: clips of 65 frames, but positions reach 64, 0\.64 s; cut the clips"):
        encoder(torch.zeros(1, longest + 160))
    assert encoder(torch.zeros(1, 10)).isfinite().all()
