"""aiSFX equals Essentia's front end and the authors' network, with its real weights and with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.aisfx import AiSFX
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError
from tests.golden_weights import gap

LENGTHS = ("1", "2.05", "10")
LAYOUTS = "golden2/key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"


@pytest.fixture(scope="module")
def real(shared: Path) -> str:
    path = shared / "weights/aisfx_x_sequential_ce_trunk.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A file of narrow random weights."""
    torch.save(AiSFX(width=2).features.state_dict(), tmp_path / "small.pt")
    return str(tmp_path / "small.pt")


def wave(shared: Path, length: str) -> Tensor:
    return load_file(shared / "golden2/waves_44100.safetensors")[f"wave_{length}"][None].float() / 32768


@pytest.mark.parametrize("length", LENGTHS)
def test_the_log_mel_is_that_of_essentia(shared: Path, length: str) -> None:
    expected = load_file(shared / "golden2/aisfx_essentia.safetensors")[f"spec_essentia_{length}"]
    assert gap(AiSFX.tiny().spectrogram(wave(shared, length))[0], expected) < 5e-6


@pytest.mark.parametrize("samples", [1, 1023, 1024, 1025, 44032])
def test_there_is_a_window_on_the_first_sample_and_one_that_ends_behind_the_last(samples: int) -> None:
    assert AiSFX.tiny().spectrogram(torch.randn(2, samples)).shape == (2, 1 + -(-samples // 1024), 96)


def test_embeddings_of_the_real_weights_are_those_of_the_authors(shared: Path, real: str) -> None:
    golden = load_file(shared / "golden2/aisfx_essentia.safetensors")
    encoder = AiSFX(weights=real).eval()
    with torch.no_grad():
        for length in LENGTHS:
            assert gap(encoder(wave(shared, length))[0, 0], golden[f"embedding_essentia_{length}"]) < 2e-5


@pytest.mark.parametrize("name", ["real", "small"])
def test_the_network_is_that_of_the_authors(shared: Path, name: str, real: str) -> None:
    """Of spectrograms by another front end."""
    golden = load_file(shared / f"golden2/aisfx_{name}.safetensors")
    spectra = load_file(shared / "golden2/aisfx_frontend.safetensors")
    weights = real if name == "real" else str(shared / "golden2/aisfx_small.safetensors")
    encoder = AiSFX(weights=weights).eval()
    with torch.no_grad():
        for length in LENGTHS:
            features = encoder.encode(spectra[f"spec_{length}"][None])
            assert gap(features[0, 0], golden[f"embedding_{length}"]) < 2e-5


def test_published_files_fit_key_by_key(shared: Path) -> None:
    layouts = json.loads((shared / LAYOUTS).read_text())
    with torch.device("meta"):
        own = AiSFX().features.state_dict()
    assert {key: list(value.shape) for key, value in own.items()} == layouts["aisfx_trunk"]
    assert {f"embedding_net.{key}" for key in own} < layouts["aisfx_full"].keys()


def test_the_file_of_the_package_is_read_without_its_heads(tmp_path: Path) -> None:
    state = AiSFX(width=4).features.state_dict()
    whole = {f"embedding_net.{key}": value for key, value in state.items()} | {"fc.0.0.weight": torch.ones(256, 32)}
    torch.save((whole, {"library": (0, ["door", "wind"])}), tmp_path / "checkpoint.pth")
    found = AiSFX(weights=str(tmp_path / "checkpoint.pth"))
    assert found.settled == {"width": 4}
    assert all(torch.equal(value, state[key]) for key, value in found.features.state_dict().items())


@pytest.mark.parametrize(("frames", "stretches"), [(2, 1), (50, 1), (100, 1), (149, 1), (150, 2), (432, 7)])
def test_a_frame_is_a_stretch_of_a_hundred_spectra(small: str, frames: int, stretches: int) -> None:
    encoder, spectra = AiSFX(weights=small).eval(), torch.rand(2, frames, 96)
    with torch.no_grad():
        features = encoder.encode(spectra)
        assert features.shape == (2, 1, stretches, 16)
        if frames >= 100:
            torch.testing.assert_close(features[:, :, -1:], encoder.encode(spectra[:, 50 * (stretches - 1) :][:, :100]))
        silence = torch.zeros(2, max(0, 100 - frames), 96)
        torch.testing.assert_close(encoder.encode(torch.cat([spectra, silence], 1)), features)


@pytest.mark.parametrize(("blocks", "width", "rows"), [(1, 2, 48), (2, 4, 24), (3, 8, 12), (4, 16, 12)])
def test_earlier_blocks_and_kept_rows_are_maps_of_the_whole_network(
    small: str, blocks: int, width: int, rows: int
) -> None:
    whole = AiSFX(weights=small).eval()
    kept = AiSFX(weights=small, blocks=blocks, rows="kept").eval()
    averaged = AiSFX(weights=small, blocks=blocks).eval()
    assert (kept.feature_dim, averaged.feature_dim) == (width, width)
    assert (kept.layout.rows, averaged.layout.rows) == (rows, 1)
    mel = torch.rand(2, 160, 96)
    with torch.no_grad():
        maps = torch.stack([mel[:, :100], mel[:, 50:150]], dim=1).flatten(0, 1)[:, None]
        for stage in whole.stages()[:blocks]:
            maps = stage(maps)
        grid = kept.layout.grid(kept.encode(mel))[:, 0]
        torch.testing.assert_close(grid, maps.amax(2).mT.unflatten(0, (2, 2)))
        torch.testing.assert_close(averaged.encode(mel)[:, 0], maps.mean(3).amax(2).unflatten(0, (2, 2)))


def test_the_front_end_stays_in_float32() -> None:
    encoder, waveform = AiSFX.tiny().eval(), torch.randn(2, 44100)
    expected = encoder.spectrogram(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.spectrogram(waveform), expected)


def test_the_width_is_read_from_the_file_in_any_precision(small: str, tmp_path: Path) -> None:
    state = {key: value.half() for key, value in torch.load(small).items()}
    save_file(state, tmp_path / "half.safetensors")
    found = AiSFX(weights=str(tmp_path / "half.safetensors"))
    assert found.settled == {"width": 2}
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    assert torch.equal(found.features[0].conv1.weight, state["conv_block1.conv1.weight"].float())
    assert AiSFX(**found.settled).state_dict().keys() == found.state_dict().keys()


def test_files_that_do_not_fit_say_why(small: str, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.pt has width 2; set width to it, or leave it out"):
        AiSFX(weights=small, width=4)
    for name, held in (("panns_cnn10_small", "PANNs"), ("yamnet_small", "YAMNet")):
        with pytest.raises(UserError, match=f"is no file of aiSFX: it holds {held}"):
            AiSFX(weights=str(shared / f"golden2/{name}.safetensors"))
    state = torch.load(small)
    for name, changed, said in (
        ("less", {key: value for key, value in state.items() if key != "conv_block2.bn1.bias"}, "no key conv_block2"),
        ("more", state | {"conv_block5.conv1.weight": torch.ones(1)}, "unexpected key conv_block5"),
        ("other", state | {"conv_block4.conv2.weight": torch.ones(16, 16, 5, 5)}, "another size of the model"),
        ("huge", state | {"conv_block1.conv1.weight": torch.ones(1).expand(90000, 1, 1, 1)}, "promises a network"),
    ):
        torch.save(changed, tmp_path / f"{name}.pt")
        with pytest.raises(UserError, match=rf"{name}\.pt.*{said}"):
            AiSFX(weights=str(tmp_path / f"{name}.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "AiSFX: layers is 2; .* choose it by blocks"),
        ({"blocks": 5}, "AiSFX: blocks is 5; it has 1 to 4"),
        ({"rows": "all"}, "AiSFX: rows is 'all'; choose averaged or kept"),
        ({"width": 0}, "AiSFX: width is 0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AiSFX(**arguments)
