"""Dasheng equals the authors' implementation, and takes both layouts of their files; CED is the same network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.dasheng import CED, Dasheng, TransformerShape, from_published
from asd_plugins.mobilenet import MobileNet
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError
from tests.forked import as_on_every_processor

TOLERANCE = 2e-5
GOLDEN = TransformerShape(width=64, depth=3, heads=4)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden"


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize("length", ["1s", "10s", "10.53s", "25s"])
@pytest.mark.parametrize("file", ["dasheng.pt", "dasheng_hub_layout.safetensors"])
@as_on_every_processor
def test_outputs_are_those_of_the_authors(golden: Path, file: str, length: str) -> None:
    tensors = load_file(golden / "dasheng.safetensors")
    encoder = Dasheng(shape=GOLDEN, weights=str(golden / file)).eval()
    with torch.no_grad():
        mel = encoder.spectrogram(tensors[f"wave_{length}"])
        assert gap(mel.mT, tensors[f"mel_{length}"]) <= 1e-4
        assert gap(encoder.encode(mel)[:, -1], tensors[f"output_{length}"]) <= TOLERANCE


def test_full_size_files_fit_key_by_key(golden: Path) -> None:
    keys = json.loads((golden / "key_layouts.json").read_text())["dasheng_base"]
    with torch.device("meta"):
        own = Dasheng().state_dict()
        theirs = from_published({key: torch.empty(shape) for key, shape in keys.items()})
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize(("size", "millions"), [("base", 85.45), ("0.6B", 630.3), ("1.2B", 1134.0)])
def test_published_sizes_have_the_published_parameters(size: Any, millions: float) -> None:
    with torch.device("meta"):
        encoder = Dasheng(size=size)
    counted = sum(p.numel() for p in encoder.parameters()) / 1e6
    assert counted == pytest.approx(millions, rel=1e-3)


@pytest.mark.parametrize(("size", "millions"), [("tiny", 5.4), ("mini", 9.5), ("small", 21.4), ("base", 85.4)])
def test_ced_has_its_published_sizes(size: Any, millions: float) -> None:
    with torch.device("meta"):
        encoder = CED(size=size)
    counted = sum(p.numel() for p in encoder.parameters()) / 1e6
    assert counted == pytest.approx(millions, rel=0.02)


def test_ced_takes_the_hub_layout_with_its_classifier(tmp_path: Path) -> None:
    encoder = CED.tiny().eval()
    state = {f"encoder.{key}": value.contiguous() for key, value in encoder.state_dict().items()}
    state |= {"outputlayer.0.weight": torch.ones(16), "outputlayer.1.weight": torch.ones(527, 16)}
    save_file(state, tmp_path / "ced.safetensors")
    loaded = CED(layers=2, shape=TransformerShape(16, 2, 2), weights=str(tmp_path / "ced.safetensors")).eval()
    wave = torch.randn(2, 16000)
    with torch.no_grad():
        assert torch.equal(loaded(wave), encoder(wave))
        assert encoder(wave).shape == (2, 2, 4 * 6, 16)


@pytest.mark.parametrize("seconds", [10.1, 25.0])
@pytest.mark.parametrize("kind", [Dasheng, CED])
def test_chunks_of_a_batch_do_not_mix(kind: type[Dasheng | CED], seconds: float) -> None:
    encoder = kind.tiny().eval()
    wave = torch.randn(3, int(16000 * seconds))
    with torch.no_grad():
        together = encoder(wave)
        alone = torch.cat([encoder(one[None]) for one in wave])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for saving in (False, True):
        torch.manual_seed(0)
        encoder = Dasheng(shape=GOLDEN, gradient_checkpointing=saving).train()
        encoder(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_the_deepest_layer_does_not_depend_on_how_many_are_returned(golden: Path) -> None:
    file, wave = str(golden / "dasheng.pt"), torch.randn(1, 8000)
    with torch.no_grad():
        three = Dasheng(layers=3, shape=GOLDEN, weights=file).eval()(wave)
        one = Dasheng(shape=GOLDEN, weights=file).eval()(wave)
    torch.testing.assert_close(three[:, 2:], one)


def test_files_of_another_size_or_network_say_what_to_set(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has width 64 and depth 3, not 16 and 2; set shape"):
        Dasheng(shape=TransformerShape(16, 2, 2), weights=str(golden / "dasheng.pt"))
    with pytest.raises(UserError, match=r"patches of \(64, 4\), CED of \(16, 16\)"):
        CED(shape=GOLDEN, weights=str(golden / "dasheng.pt"))
    with pytest.raises(UserError, match="no file of Dasheng"):
        Dasheng(shape=GOLDEN, weights=str(golden / "beats_ssl.pt"))
    with torch.device("meta"):
        small = CED(size="small").state_dict()
    torch.save({key: torch.zeros(value.shape) for key, value in small.items()}, tmp_path / "small.pt")
    with pytest.raises(UserError, match="set size to small"):
        CED(size="tiny", weights=str(tmp_path / "small.pt"))


def test_the_size_is_read_from_the_file(golden: Path, tmp_path: Path) -> None:
    found = Dasheng(weights=str(golden / "dasheng.pt"))
    assert found.shape == GOLDEN
    assert TransformerShape(**found.settled["shape"]) == GOLDEN
    with torch.device("meta"):
        small = CED(size="small").state_dict()
    torch.save({key: torch.zeros(value.shape) for key, value in small.items()}, tmp_path / "small.pt")
    assert CED(weights=str(tmp_path / "small.pt")).shape == CED.sizes["small"]
    with pytest.raises(UserError, match="width 64 and depth 3, which is no published size"):
        Dasheng(weights=str(golden / "dasheng_hub_layout.safetensors"))
    with pytest.raises(UserError, match=r"has 4 heads, not 8; set shape\.heads"):
        Dasheng(shape=replace(GOLDEN, heads=8), weights=str(golden / "dasheng.pt"))
    with pytest.raises(UserError, match="it holds Dasheng"):
        MobileNet(weights=str(golden / "dasheng.pt"))


def test_a_file_that_promises_more_layers_than_it_holds_is_refused(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / "dasheng.pt", weights_only=True)
    content["model"] |= {f"blocks.{number}.x": torch.zeros(1) for number in range(3, 10000)}
    torch.save(content, tmp_path / "deep.pt")
    with pytest.raises(UserError, match=r"promises a network of [\d,]+ numbers, but holds"):
        Dasheng(weights=str(tmp_path / "deep.pt"))


def test_arguments_out_of_range() -> None:
    with pytest.raises(UserError, match="layers is 13, but there are 12"):
        Dasheng(layers=13)


@pytest.mark.parametrize(("kind", "samples"), [(Dasheng, 480), (CED, 2400)])
def test_clips_shorter_than_a_patch(kind: type[Dasheng | CED], samples: int) -> None:
    encoder = kind.tiny().eval()
    with pytest.raises(UserError, match="it needs at least"):
        encoder(torch.zeros(1, samples - 1))
    assert encoder(torch.zeros(1, samples)).isfinite().all()
