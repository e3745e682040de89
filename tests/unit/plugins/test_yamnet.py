"""YAMNet equals the TensorFlow code, with its real weights and with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.yamnet import YAMNet, audioset_classifier
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError
from asd.testing.encoder import check_frequency
from tests.golden_weights import by_rule, gap

LENGTHS = ("0.5", "1", "2.05", "10")
WIDTHS = [4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 12, 12]
LAYOUTS = "golden2/key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"


@pytest.fixture
def layout(shared: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads((shared / LAYOUTS).read_text())["yamnet_torch_audioset_layout"]
    return found


@pytest.fixture(scope="module")
def real(shared: Path) -> str:
    path = shared / "weights/yamnet_audioset_int8grid.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A file of narrow random weights, without a classifier."""
    torch.save(YAMNet(widths=WIDTHS).features.state_dict(), tmp_path / "small.pt")
    return str(tmp_path / "small.pt")


@pytest.mark.parametrize("blocks", [11, 13])
def test_rows_that_see_all_bands_are_no_fault(real: str, blocks: int) -> None:
    check_frequency(YAMNet(weights=real, blocks=blocks, rows="kept"))


def wave(shared: Path, length: str) -> Tensor:
    waves = load_file(shared / "golden2/waves_16000.safetensors")
    samples = waves["wave_1"][:8000] if length == "0.5" else waves[f"wave_{length}"]
    return samples[None].float() / 32768


@pytest.mark.parametrize("length", LENGTHS)
def test_the_log_mel_is_that_of_the_authors(shared: Path, length: str) -> None:
    expected = load_file(shared / "golden2/yamnet_frontend.safetensors")[f"logmel_{length}"]
    assert gap(YAMNet.tiny().spectrogram(wave(shared, length))[0], expected) < 1e-5


def check(shared: Path, name: str, weights: str, tolerance: float) -> None:
    golden = load_file(shared / f"golden2/yamnet_{name}.safetensors")
    encoder, classifier = YAMNet(weights=weights).eval(), audioset_classifier(weights).eval()
    with torch.no_grad():
        for length in LENGTHS:
            features = encoder(wave(shared, length))[0, 0]
            assert gap(features, golden[f"embedding_{length}"]) < tolerance
            assert gap(classifier(features), golden[f"logits_{length}"]) < tolerance


def test_embeddings_and_logits_are_those_of_the_authors(shared: Path) -> None:
    check(shared, "small", str(shared / "golden2/yamnet_small.safetensors"), 1e-5)


def test_embeddings_and_logits_of_the_real_weights_are_those_of_the_authors(shared: Path, real: str) -> None:
    check(shared, "real", real, 5e-5)


def test_the_published_size_is_that_of_the_authors(shared: Path, layout: dict[str, list[int]], tmp_path: Path) -> None:
    state = by_rule(layout, seed=1071, gain=2.0)
    state |= {key: torch.ones_like(value) for key, value in state.items() if key.endswith("bn.weight")}
    save_file(state, tmp_path / "full.safetensors")
    check(shared, "full", str(tmp_path / "full.safetensors"), 2e-5)


def test_published_files_fit_key_by_key(layout: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        own = YAMNet().features.state_dict()
    own_shapes = {key: list(value.shape) for key, value in own.items()}
    assert own_shapes | {"classifier.weight": [521, 1024], "classifier.bias": [521]} == layout


@pytest.mark.parametrize(("seconds", "patches"), [(0.1, 1), (0.975, 1), (1.0, 2), (2.05, 4), (10.0, 20)])
def test_a_frame_is_a_patch_and_clips_are_padded_to_whole_ones(seconds: float, patches: int) -> None:
    encoder, clips = YAMNet(widths=WIDTHS).eval(), torch.randn(2, round(16000 * seconds))
    features = encoder(clips)
    assert features.shape == (2, 1, patches, 12)
    whole = torch.nn.functional.pad(clips, (0, 15600 + 7680 * (patches - 1) - clips.shape[1]))
    assert torch.equal(encoder(whole), features)


@pytest.mark.parametrize(("blocks", "width", "rows"), [(1, 4, 32), (4, 8, 8), (11, 8, 4), (13, 12, 2)])
def test_earlier_blocks_and_kept_rows_are_maps_of_the_whole_network(
    small: str, blocks: int, width: int, rows: int
) -> None:
    whole = YAMNet(weights=small).eval()
    kept = YAMNet(weights=small, blocks=blocks, rows="kept").eval()
    averaged = YAMNet(weights=small, blocks=blocks).eval()
    assert (kept.feature_dim, averaged.feature_dim) == (width, width)
    assert (kept.layout.rows, averaged.layout.rows) == (rows, 1)
    mel = whole.spectrogram(torch.randn(2, 32000))
    assert mel.shape[1] == 96 + 48 * 3
    with torch.no_grad():
        maps = torch.stack([mel[:, 48 * patch : 48 * patch + 96] for patch in range(4)], dim=1).flatten(0, 1)[:, None]
        for stage in whole.stages()[: 1 + blocks]:
            maps = stage(maps)
        grid = kept.layout.grid(kept.encode(mel))[:, 0]
        torch.testing.assert_close(grid, maps.mean(2).mT.unflatten(0, (2, 4)))
        torch.testing.assert_close(averaged.encode(mel)[:, 0], maps.mean((2, 3)).unflatten(0, (2, 4)))


def test_the_front_end_stays_in_float32() -> None:
    encoder, waveform = YAMNet.tiny().eval(), torch.randn(2, 16000)
    expected = encoder.spectrogram(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.spectrogram(waveform), expected)


def test_a_silent_clip_sends_no_gradient_that_is_not_finite() -> None:
    waveform = torch.zeros(1, 16000, requires_grad=True)
    YAMNet.tiny().eval()(waveform).sum().backward()
    assert waveform.grad is not None and waveform.grad.isfinite().all()


def test_the_widths_are_read_from_the_file_in_any_precision(small: str, tmp_path: Path) -> None:
    state = {key: value.half() for key, value in torch.load(small).items()}
    save_file(state, tmp_path / "half.safetensors")
    found = YAMNet(weights=str(tmp_path / "half.safetensors"))
    assert found.settled == {"widths": WIDTHS}
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    assert torch.equal(found.features[0].fused.conv.weight, state["layer1.fused.conv.weight"].float())
    assert YAMNet(**found.settled).state_dict().keys() == found.state_dict().keys()


def test_files_that_do_not_fit_say_why(small: str, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.pt has widths \[4, 4, 8.*set widths to them, or leave it out"):
        YAMNet(weights=small, widths=[4] * 14)
    with pytest.raises(UserError, match=r"no key classifier\.weight"):
        audioset_classifier(small)
    with pytest.raises(UserError, match="is no file of YAMNet: it holds one of PANNs"):
        YAMNet(weights=str(shared / "golden2/panns_cnn6_small.safetensors"))
    state = torch.load(small)
    for name, changed, said in (
        ("less", {key: v for key, v in state.items() if key != "layer9.depthwise_conv.bn.bias"}, "no key layer9"),
        ("more", state | {"layer15.conv.weight": torch.ones(1)}, "unexpected key layer15"),
        ("other", {key: v for key, v in state.items() if "layer14" not in key}, "no key layer14.*another model or"),
        (
            "huge",
            state | {"layer9.pointwise_conv.conv.weight": torch.ones(1).expand(90000, 1, 1, 1)},
            "promises a network",
        ),
    ):
        torch.save(changed, tmp_path / f"{name}.pt")
        with pytest.raises(UserError, match=rf"{name}\.pt.*{said}"):
            YAMNet(weights=str(tmp_path / f"{name}.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "YAMNet: layers is 2; .* choose it by blocks"),
        ({"blocks": 0}, "YAMNet: blocks is 0; it has 1 to 13"),
        ({"blocks": 14}, "YAMNet: blocks is 14; it has 1 to 13"),
        ({"rows": "all"}, "YAMNet: rows is 'all'; choose averaged or kept"),
        ({"widths": [8] * 13}, "YAMNet: widths is .*; give 14 numbers of channels"),
        ({"widths": [0] * 14}, "YAMNet: widths is .*; give 14 numbers of channels"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        YAMNet(**arguments)
