"""MobileNet equals EfficientAT, with its real weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.mobilenet import MobileNet, audioset_classifier
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def weights() -> str:
    path = Path(__file__).parents[3] / "../shared/weights/mn04_as_mAP_432.pt"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return str(path)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    path = Path(__file__).parents[3] / "../shared/golden/mn04.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize("length", ["1s", "10s"])
def test_outputs_are_those_of_the_authors(weights: str, golden: dict[str, Tensor], length: str) -> None:
    encoder = MobileNet(weights=weights).eval()
    with torch.no_grad():
        mel = encoder.spectrogram(golden[f"wave_{length}"][None])
        features = encoder.encode(mel)
        embedding = features.mean(2)[:, 0]
        logits = audioset_classifier(weights).eval()(embedding)
    assert difference(mel[0].mT, golden[f"mel_{length}"]) < TOLERANCE
    assert difference(embedding[0], golden[f"embedding_{length}"]) < TOLERANCE
    assert difference(logits[0], golden[f"logits_{length}"]) < TOLERANCE


def test_features_are_frames_of_320_ms() -> None:
    features = MobileNet().eval()(torch.randn(2, 320000))
    assert features.shape == (2, 1, 32, 384)


@pytest.mark.parametrize(("blocks", "frames", "channels", "rows"), [(1, 500, 8, 64), (11, 63, 48, 8), (15, 32, 384, 4)])
def test_earlier_blocks_and_kept_rows_are_maps_of_the_whole_network(
    weights: str, blocks: int, frames: int, channels: int, rows: int
) -> None:
    whole = MobileNet(weights=weights).eval()
    kept = MobileNet(weights=weights, blocks=blocks, rows="kept").eval()
    averaged = MobileNet(weights=weights, blocks=blocks).eval()
    assert (kept.feature_dim, averaged.feature_dim) == (channels * rows, channels)
    mel = whole.spectrogram(torch.randn(2, 320000))
    with torch.no_grad():
        maps = mel.mT[:, None]
        for stage in whole.stages()[: len(kept.stages())]:
            maps = stage(maps)
        assert maps.shape == (2, channels, rows, frames)
        features = kept.encode(mel)
        assert difference(features, maps.permute(0, 3, 1, 2).reshape(2, 1, frames, channels * rows)) < TOLERANCE
        assert difference(averaged.encode(mel), maps.mean(2).mT[:, None]) < TOLERANCE


@pytest.mark.parametrize(("width", "feature_dim"), [(0.5, 480), (1.0, 960), (2.0, 1920), (3.0, 2880), (4.0, 3840)])
def test_widths_of_the_published_family(width: float, feature_dim: int) -> None:
    with torch.device("meta"):
        encoder = MobileNet(width=width)
    assert encoder.feature_dim == feature_dim


def test_the_front_end_stays_in_float32() -> None:
    encoder, waveform = MobileNet.tiny().eval(), torch.randn(2, 32000)
    expected = encoder.spectrogram(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.spectrogram(waveform), expected)


def test_every_parameter_is_trained_and_belongs_to_a_stage() -> None:
    encoder = MobileNet.tiny().train()
    encoder(torch.randn(2, 16000)).square().mean().backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    staged = [p for stage in encoder.stages() for p in stage.parameters()]
    assert len(staged) == len(list(encoder.parameters()))


@pytest.mark.parametrize("width", [0.1, 0.33, 0.5, 1.0])
def test_the_width_is_read_from_the_file(tmp_path: Path, width: float) -> None:
    torch.save(MobileNet(width=width).state_dict(), tmp_path / "w.pt")
    found = MobileNet(weights=str(tmp_path / "w.pt"))
    again = MobileNet(**found.settled)
    for key, value in torch.load(tmp_path / "w.pt").items():
        assert torch.equal(found.state_dict()[key], value)
        assert again.state_dict()[key].shape == value.shape


def test_weights_of_another_width_say_which(weights: str) -> None:
    with pytest.raises(UserError, match=r"mn04_as_mAP_432\.pt has width 0\.4; set width to it"):
        MobileNet(width=1.0, weights=weights)


def test_weights_of_another_width_are_refused(weights: str) -> None:
    with pytest.raises(UserError, match=r"mn04_as_mAP_432\.pt"):
        MobileNet(width=1.0, weights=weights)


def test_a_file_without_a_needed_key_is_refused(weights: str, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    del state["features.7.block.1.0.weight"]
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match=r"features\.7\.block\.1\.0\.weight"):
        MobileNet(weights=str(tmp_path / "broken.safetensors"))
    del state["classifier.2.weight"]
    save_file(state, tmp_path / "headless.safetensors")
    with pytest.raises(UserError, match=r"no key classifier\.2\.weight"):
        audioset_classifier(str(tmp_path / "headless.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "layers is 2; .* choose it by blocks"),
        ({"blocks": 0}, "blocks is 0; it has 1 to 15"),
        ({"blocks": 16}, "blocks is 16; it has 1 to 15"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MobileNet(**arguments)


def test_clips_shorter_than_a_window() -> None:
    encoder = MobileNet.tiny().eval()
    with pytest.raises(UserError, match="clips of 513 samples; it needs at least 514"):
        encoder(torch.zeros(1, 513))
    assert encoder(torch.zeros(1, 514)).isfinite().all()
