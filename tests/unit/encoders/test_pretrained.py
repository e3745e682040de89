"""Files of weights: what is wrong with one is said in a line, and code in it is never run."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.fusion import Fusion
from asd_plugins.mobilenet import MobileNet
from safetensors.torch import save_file
from torch import nn

from asd.encoders.pretrained import load_strict, read, settled, weights_of
from asd.errors import Notice, UserError


def test_both_formats_are_read(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save({"model": state}, tmp_path / "a.pt")
    save_file(dict(state), tmp_path / "a.safetensors")
    assert torch.equal(read(tmp_path / "a.pt")["model"]["weight"], state["weight"])
    assert torch.equal(read(tmp_path / "a.safetensors")["weight"], state["weight"])


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harmed"),))  # type: ignore[return-value]


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "bad.pt").open("wb") as file:
        pickle.dump({"model": _Harm()}, file)
    torch.save({"model": _Harm()}, tmp_path / "worse.pt")
    for name in ("bad.pt", "worse.pt"):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"weight": torch.ones(1000)}, path)
    else:
        save_file({"weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cut short"):
        read(path)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"weight": None}, "no key weight"),
        ({"extra": torch.ones(1)}, "unexpected key extra"),
        ({"weight": torch.ones(5, 5)}, r"weight is of shape \(5, 5\), expected \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor | None], shown: str) -> None:
    layer = nn.Linear(3, 2)
    state = {key: value for key, value in {**layer.state_dict(), **change}.items() if value is not None}
    with pytest.raises(UserError, match=shown):
        load_strict(layer, state, Path("weights.pt"))


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


OWN = {"first.weight": torch.ones(2), "blocks.0.weight": torch.ones(3)}
OTHER = {key: 2 * value for key, value in OWN.items()}
WRAPPED = {
    "bare": OWN,
    "model": {"model": OWN},
    "state_dict": {"state_dict": OWN, "epoch": 3},
    "module": {"module": OWN, "dtype": torch.float16},
    "net": {"net": OWN, "acc": 0.9},
    "two envelopes": {"checkpoint": {"model_state_dict": OWN}},
    "DDP": under("module.", OWN),
    "torch.compile": under("_orig_mod.", OWN),
    "compile over DDP": under("_orig_mod.module.", OWN),
    "DDP over compile": under("module._orig_mod.", OWN),
    "DDP twice": under("module.module.", OWN),
    "a compiled part": {"first._orig_mod.weight": OWN["first.weight"], "blocks._orig_mod.0.weight": torch.ones(3)},
    "Lightning": {"state_dict": under("model.", OWN), "pytorch-lightning_version": "2.5", "loops": {}},
    "Lightning, compiled, DDP": {"state_dict": under("model._orig_mod.module.", OWN)},
    "Lightning beside a head": {"state_dict": {**under("net.encoder.", OWN), "head.weight": torch.ones(5)}},
    "optimizer": {"model": OWN, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "EMA alone": {"model_ema": OWN},
    "EMA alone, in Lightning": {"state_dict": under("ema_model.module.", OWN)},
    "plain numbers among the weights": {**OWN, "version": 2, "note": "x"},
    "a log of tensors": {"model": OWN, "losses": torch.ones(9)},
    "student and teacher": {"student": OWN, "teacher": OTHER},
}


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
@pytest.mark.parametrize("how", WRAPPED)
def test_envelopes_and_prefixes_are_opened(tmp_path: Path, how: str) -> None:
    torch.save(WRAPPED[how], tmp_path / "w.pt")
    found = {key: v for key, v in weights_of(tmp_path / "w.pt", "it", "first.weight").state.items() if key in OWN}
    assert found.keys() == OWN.keys()
    assert all(torch.equal(found[key], value) for key, value in OWN.items())


def test_plain_weights_come_before_averaged_ones_and_it_is_said(tmp_path: Path) -> None:
    torch.save({"state_dict_ema": OTHER, "state_dict": OWN}, tmp_path / "w.pt")
    with pytest.warns(Notice, match="holds averaged weights as well; those of state_dict are taken"):
        state = weights_of(tmp_path / "w.pt", "it", "first.weight").state
    assert torch.equal(state["first.weight"], OWN["first.weight"])


def test_averaged_weights_within_the_plain_ones_are_left_out(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    averaged = {key: 2 * value for key, value in state.items()}
    torch.save({"model": {**state, "_ema": averaged}}, tmp_path / "w.pt")
    with pytest.warns(Notice, match="holds averaged weights as well; those of model are taken"):
        weights = weights_of(tmp_path / "w.pt", "a layer", "weight")
    load_strict(nn.Linear(3, 2), weights.state, weights.path)
    assert torch.equal(weights.state["weight"], state["weight"])


def test_two_networks_are_not_guessed_between(tmp_path: Path) -> None:
    torch.save({"generator": OWN, "critic": OTHER}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds 2 networks \(generator\., critic\.\); keep one"):
        weights_of(tmp_path / "w.pt", "it", "first.weight")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"post_extract_proj.weight": torch.ones(2, 512), "patch_embedding.weight": torch.ones(4, 1, 16, 16)}, "BEATs"),
        ({"model": {"time_pos_embed": torch.ones(1, 8, 1, 252)}}, "Dasheng"),
        (under("encoder.", {"time_pos_embed": torch.ones(1, 8, 1, 63)}), "CED"),
        ({"feature_extractor.conv_layers.0.conv.weight": torch.ones(2)}, "wav2vec 2.0, HuBERT or WavLM"),
        ({"layer.a": torch.ones(4), "layer.b": torch.ones(4)}, r"8e-06 M numbers under the keys layer\.a, layer\.b"),
        ({"epoch": 3}, "no tensors by name"),
    ],
)
def test_a_file_of_another_network_is_called_by_its_name(tmp_path: Path, content: dict[str, object], said: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"w\.pt is no file of X: it holds {said}"):
        weights_of(tmp_path / "w.pt", "X", "first.weight")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_becomes_float32(dtype: torch.dtype) -> None:
    layer = nn.Linear(3, 2)
    state = {key: torch.full_like(value, 0.5, dtype=dtype) for key, value in layer.state_dict().items()}
    load_strict(layer, state, Path("weights.pt"))
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    assert (layer.weight == 0.5).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    layer = nn.Linear(3, 2)
    state = {**layer.state_dict(), "bias": torch.tensor([0.0, value])}
    with pytest.raises(UserError, match=r"weights\.pt: bias is not finite"):
        load_strict(layer, state, Path("weights.pt"))


def test_quantised_weights_are_not_taken_for_their_values() -> None:
    layer = nn.Linear(3, 2)
    state = {**layer.state_dict(), "weight": torch.ones(2, 3, dtype=torch.int8)}
    with pytest.raises(UserError, match="weight of whole numbers; the file is quantised"):
        load_strict(layer, state, Path("weights.pt"))


def test_complex_weights_are_called_that() -> None:
    layer = nn.Linear(3, 2)
    state = {key: value.to(torch.complex64) for key, value in layer.state_dict().items()}
    with pytest.raises(UserError, match=r"w\.pt: bias, weight of complex numbers; the file is of another model"):
        load_strict(layer, state, Path("w.pt"))


def test_what_was_read_from_files_is_kept_also_of_encoders_within(shared: Path, tmp_path: Path) -> None:
    beats, net = str(shared / "golden/beats_ssl.pt"), str(tmp_path / "mn.pt")
    torch.save(MobileNet(width=0.2).state_dict(), net)
    fusion = Fusion([BEATs(weights=beats), MobileNet(weights=net)])
    config = {
        "seed_everything": 1,
        "model": {
            "encoder": {
                "class_path": "Fusion",
                "init_args": {
                    "encoders": [
                        {"class_path": "BEATs", "init_args": {"weights": beats, "shape": None}},
                        {"class_path": "MobileNet", "init_args": {"weights": net}},
                    ]
                },
            }
        },
    }
    kept = settled(config, fusion)
    assert kept is not None
    first, second = kept["model"]["encoder"]["init_args"]["encoders"]
    assert first["init_args"]["shape"] == asdict(BEATs(weights=beats).shape)
    assert second["init_args"] == {"weights": net, "width": 0.2}
    assert settled(None, fusion) is None
