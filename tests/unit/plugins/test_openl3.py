"""OpenL3 equals the port of the authors' code to PyTorch, every front end and both embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asd_plugins import openl3
from asd_plugins.openl3 import OpenL3
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import Notice, UserError
from tests.golden_weights import by_rule, gap

LAYOUTS = "golden2/key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"
NAMES = ("mel256_512", "mel256_6144", "mel128_512", "linear_512")
SPECTRA = {"mel256": (256, 1025), "mel128": (128, 1025), "linear": (257, 257)}


def published(encoder: OpenL3, layout: dict[str, list[int]]) -> dict[str, Tensor]:
    """The state dict of a whole encoder as files have it, without the constants."""
    stages = encoder.stages()
    assert len(stages) == 8
    found = {}
    modules = [
        part for stage in stages for part in (stage if isinstance(stage, torch.nn.Sequential) else [stage])
        if list(part.parameters())
    ]  # fmt: skip
    names = dict.fromkeys(key.rpartition(".")[0] for key in layout if not key.startswith("speclayer."))
    for name, module in zip(names, modules, strict=True):
        found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    return found


@pytest.fixture
def layouts(shared: Path) -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = json.loads((shared / LAYOUTS).read_text())
    return found


@pytest.fixture
def small(layouts: dict[str, dict[str, list[int]]]) -> dict[str, Tensor]:
    """What a file of narrow random weights holds, without the constants."""
    return published(OpenL3("linear", width=2), layouts["openl3_linear_512"])


def wave(shared: Path, length: str) -> Tensor:
    return load_file(shared / "golden2/waves_48000.safetensors")[f"wave_{length}"][None].float() / 32768


@pytest.mark.parametrize("bands", SPECTRA)
def test_the_spectra_of_windows_are_those_of_the_authors(shared: Path, bands: Any) -> None:
    golden = load_file(shared / "golden2/openl3_frontend.safetensors")
    encoder = OpenL3(bands, hop_seconds=0.5, width=2)
    windows = encoder.spectrogram(wave(shared, "1")).unflatten(1, (-1, encoder.frames)).mT[0]
    assert gap(windows[:1], golden[f"spec_{bands}_1"]) < 1e-5
    if bands == "mel256":
        assert gap(windows[1], golden["spec_mel256_1_window2"]) < 1e-5


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("mel256_512", "1"),
        ("mel256_6144", "1"),
        ("mel128_512", "2.05"),
        *(
            pytest.param(name, length, marks=pytest.mark.slow)
            for name, length in (
                ("mel256_512", "2.05"), ("mel256_512", "10"), ("mel256_6144", "2.05"), ("mel128_512", "10"),
            )
        ),
    ],
)  # fmt: skip
def test_embeddings_are_those_of_the_authors(
    shared: Path, layouts: dict[str, dict[str, list[int]]], tmp_path: Path, name: str, length: str
) -> None:
    path = shared / f"golden2/openl3_{name}_full.safetensors"
    with safe_open(path, "pt") as golden:
        said = golden.metadata()
    layout = {key: shape for key, shape in layouts[f"openl3_{name}"].items() if not key.startswith("speclayer.")}
    torch.save(by_rule(layout, int(said["seed"]), float(said["gain"])), tmp_path / f"openl3_env_{name[-4:]}.pth.tar")
    size: Any = int(name.partition("_")[2])
    bands: Any = name.partition("_")[0]
    encoder = OpenL3(bands, size, 1.0 if length == "10" else 0.5, weights=str(next(tmp_path.iterdir()))).eval()
    with torch.no_grad():
        assert gap(encoder(wave(shared, length))[0, 0], load_file(path)[f"embedding_{length}"]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_published_files_fit_key_by_key(layouts: dict[str, dict[str, list[int]]], name: str) -> None:
    layout = layouts[f"openl3_{name}"]
    bands: Any = name.partition("_")[0]
    with torch.device("meta"):
        own = published(OpenL3(bands), layout)
    constants = {key: shape for key, shape in layout.items() if key.startswith("speclayer.")}
    assert {key: list(value.shape) for key, value in own.items()} | constants == layout


@pytest.mark.parametrize(
    ("samples", "hop", "windows"),
    [(1, 1.0, 1), (24000, 1.0, 1), (24001, 1.0, 2), (48000, 0.5, 2), (98400, 0.5, 5), (48000, 0.1, 6)],
)
def test_windows_are_centred_on_every_hop_and_padded_to_whole_ones(samples: int, hop: float, windows: int) -> None:
    encoder = OpenL3("linear", hop_seconds=hop, width=1).eval()
    clip = torch.randn(1, samples)
    level = encoder.spectrogram(clip)
    assert level.shape == (1, windows * 197, 257)
    last = round((windows - 1) * hop * 48000)
    whole = F.pad(clip, (24000, last + 24000 - samples))
    alone = OpenL3("linear", width=1).front_end(whole[:, last : last + 48000])
    expected = 10 * alone.clamp_min(1e-10).log10()
    torch.testing.assert_close(level[:, -197:], (expected - expected.max()).clamp_min(-80), atol=1e-3, rtol=1e-4)
    assert level.unflatten(1, (windows, 197)).amax((2, 3)).eq(0).all(), "each window below its own maximum"


@pytest.mark.parametrize(("blocks", "factor", "rows"), [(1, 1, 256), (2, 1, 256), (3, 2, 128), (6, 4, 64), (8, 8, 32)])
@pytest.mark.parametrize("embedding", [512, 6144])
def test_earlier_blocks_and_kept_rows_are_maps_of_the_whole_network(
    embedding: Any, blocks: int, factor: int, rows: int
) -> None:
    torch.manual_seed(0)
    whole = OpenL3("mel256", width=2).eval()
    kept = OpenL3("mel256", embedding, blocks=blocks, rows="kept", width=2).eval()
    pooled = OpenL3("mel256", embedding, blocks=blocks, width=2).eval()
    for one in (kept, pooled):
        one.load_state_dict({key: whole.state_dict()[key] for key in one.state_dict()})
    steps = 1 if embedding == 512 else 3
    assert kept.layout.rows == (rows if embedding == 512 else 4)
    assert kept.feature_dim == 2 * factor * steps
    assert pooled.feature_dim == 2 * factor * (1 if embedding == 512 else 12)
    level = whole.spectrogram(torch.randn(2, 48000))
    with torch.no_grad():
        maps = level.unflatten(1, (2, 199)).mT.flatten(0, 1)[:, None]
        for stage in whole.stages()[:blocks]:
            maps = stage(maps)
        assert maps.shape[1:3] == (2 * factor, rows)
        height = rows if embedding == 512 else 4
        parts = F.adaptive_max_pool2d(maps[..., : maps.shape[3] // steps * steps], (height, steps))
        expected = parts.permute(0, 2, 3, 1).flatten(2)  # (B W, rows, steps x channels)
        grid = kept.layout.grid(kept.encode(level))[:, 0]
        torch.testing.assert_close(grid.flatten(0, 1), expected)
        one = expected.flatten(1) if embedding == 6144 else maps.amax((2, 3))
        torch.testing.assert_close(pooled.encode(level)[:, 0].flatten(0, 1), one)


def test_many_windows_are_encoded_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = OpenL3("linear", width=1).eval()
    level = encoder.spectrogram(torch.randn(3, 144000))
    whole = encoder.encode(level)
    seen = []
    monkeypatch.setattr(openl3, "_AT_ONCE", 5)
    monkeypatch.setattr(encoder, "_tokens", lambda maps: seen.append(len(maps)) or OpenL3._tokens(encoder, maps))
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode(level), whole.detach())
    assert seen == [5, 5, 2]
    encoder.train()
    with torch.no_grad():
        encoder.encode(level)
    assert seen[3:] == [12], "statistics of a batch are those of all of it"


def test_the_front_end_stays_in_float32() -> None:
    for bands in ("mel128", "linear"):
        encoder, waveform = OpenL3(bands, width=1).eval(), torch.randn(2, 48000)  # type: ignore[arg-type]
        expected = encoder.spectrogram(waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(encoder.spectrogram(waveform), expected)


@pytest.mark.parametrize("bands", SPECTRA)
def test_bands_filters_width_and_embedding_are_read_from_the_file(
    small: dict[str, Tensor], tmp_path: Path, bands: str
) -> None:
    rows, bins = SPECTRA[bands]
    state = small | {"speclayer.dft_real_kernels": torch.ones(bins, 1, 2 * bins - 2)}
    if bands != "linear":
        state["speclayer.mel_basis"] = torch.rand(rows, bins)
    path = tmp_path / f"torchopenl3_{bands}_env_6144.pth.tar"
    torch.save({key: value.half() for key, value in state.items()}, path)
    found = OpenL3(weights=str(path))
    assert found.settled == {"bands": bands, "embedding": 6144, "width": 2}
    assert found.feature_dim == 12 * 16
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    if bands == "linear":
        assert found.filters is None
    else:
        assert found.filters is not None
        assert torch.equal(found.filters, state["speclayer.mel_basis"].half().float().T)
    # Built again without the file, the weights of a checkpoint bring the filters.
    again = OpenL3(**found.settled)
    again.load_state_dict(found.state_dict())
    clip = torch.randn(1, 24000)
    assert torch.equal(again.eval()(clip), found.eval()(clip))
    assert OpenL3(embedding=512, weights=str(path)).feature_dim == 16


def test_a_file_that_does_not_say_what_it_sees_is_taken_for_mel256_aloud(
    small: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file({key: value.contiguous() for key, value in small.items()}, tmp_path / "bare.safetensors")
    with pytest.warns(Notice, match=r"bare\.safetensors does not say what its network sees; mel256 is taken"):
        found = OpenL3(weights=str(tmp_path / "bare.safetensors"))
    assert found.settled == {"bands": "mel256", "embedding": 512, "width": 2}
    assert OpenL3("linear", weights=str(tmp_path / "bare.safetensors")).settled["bands"] == "linear"


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
def test_files_that_do_not_fit_say_why(small: dict[str, Tensor], shared: Path, tmp_path: Path) -> None:
    torch.save(small | {"speclayer.mel_basis": torch.rand(128, 1025)}, tmp_path / "mel.pt")
    with pytest.raises(UserError, match=r"mel\.pt is of mel128; set bands to it, or leave it out"):
        OpenL3("linear", weights=str(tmp_path / "mel.pt"))
    with pytest.raises(UserError, match=r"mel\.pt has width 2; set width to it, or leave it out"):
        OpenL3(width=4, weights=str(tmp_path / "mel.pt"))
    for name, held in (("aisfx_small", "aiSFX or one of PANNs"), ("yamnet_small", "YAMNet")):
        with pytest.raises(UserError, match=f"is no file of OpenL3: it holds {held}"):
            OpenL3(weights=str(shared / f"golden2/{name}.safetensors"))
    for name, changed, said in (
        ("less", {key: value for key, value in small.items() if key != "conv2d_3.bias"}, r"no key conv2d_3\.bias"),
        ("more", small | {"conv2d_9.bias": torch.ones(1)}, r"unexpected key conv2d_9\.bias"),
        ("mel64", small | {"speclayer.mel_basis": torch.rand(64, 1025)}, "sees 64 bands of 1025 bins; only mel256"),
        ("flat", small | {"speclayer.mel_basis": torch.rand(256)}, "not of 2 dimensions"),
        ("scalar", small | {"conv2d_1.weight": torch.tensor(1.0)}, "not of 4 dimensions"),
        ("other", small | {"conv2d_4.weight": torch.ones(4, 4, 5, 5)}, "another size of the model"),
        ("huge", small | {"conv2d_1.weight": torch.ones(1).expand(9000, 1, 1, 1)}, "promises a network"),
        ("broken", small | {"speclayer.mel_basis": torch.full((256, 1025), torch.nan)}, "filters is not finite"),
    ):
        torch.save(changed, tmp_path / f"{name}.pt")
        with pytest.raises(UserError, match=rf"{name}\.pt.*{said}"):
            OpenL3(weights=str(tmp_path / f"{name}.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "OpenL3: layers is 2; .* choose it by blocks"),
        ({"blocks": 9}, "OpenL3: blocks is 9; it has 1 to 8"),
        ({"rows": "averaged"}, "OpenL3: rows is 'averaged'; choose pooled or kept"),
        ({"bands": "mel64"}, "OpenL3: bands is 'mel64'; choose one of mel256, mel128, linear"),
        ({"embedding": 128}, "OpenL3: embedding is 128; choose 512 or 6144"),
        ({"hop_seconds": 0}, "OpenL3: hop_seconds is 0; give 0.01 to 1"),
        ({"hop_seconds": 1.5}, r"OpenL3: hop_seconds is 1\.5; give 0.01 to 1"),
        ({"width": 0}, "OpenL3: width is 0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        OpenL3(**arguments)
