"""FISHER equals the authors' implementation at every sample rate, and takes their files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.eat_layers import from_authors
from asd_plugins.fisher import FISHER, FISHERShape
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import UserError
from asd.testing.encoder import check_frequency, check_layout
from tests.forked import as_on_every_processor

TOLERANCE = 2e-5
GOLDEN = FISHERShape(width=48, depth=2, heads=3)
SMALL = FISHERShape(16, 2, 2)
SETS = ["16000_12s", *(f"{rate}_{length}" for rate in (16000, 32000, 48000) for length in ("1s", "2.05s", "10s"))]
TABLE = "modality_encoders.IMAGE.fixed_positional_encoder.positions"


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden2"


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


def in_order(tokens: Tensor) -> Tensor:
    """The authors' ``(B, bands, 1 + N, D)`` as `FISHER` has them: class tokens, then moment after moment."""
    patches = tokens[:, :, 1:].unflatten(2, (-1, 6)).transpose(1, 2).flatten(1, 3)
    return torch.cat([tokens[:, :, 0], patches], dim=1)


@pytest.mark.parametrize("which", SETS)
@as_on_every_processor
def test_outputs_are_those_of_the_authors(golden: Path, which: str) -> None:
    tensors = load_file(golden / f"fisher_{which}.safetensors")
    wave = tensors["wave"].float() / 32768
    options: dict[str, Any] = {"weights": str(golden / "fisher.pt"), "sample_rate": int(which.split("_")[0])}
    for target_length, end in (("auto", ""), (1024, "_pad1024")):
        if f"tokens{end}" not in tensors:
            continue
        encoder = FISHER(target_length=target_length, **options).eval()
        single = FISHER(target_length=target_length, tokens="class", **options).eval()
        with torch.no_grad():
            spectrogram = encoder.spectrogram(wave)
            assert gap(encoder.encode(spectrogram)[:, -1], in_order(tensors[f"tokens{end}"])) <= TOLERANCE
            embedding = single(wave)
        if "spec" in tensors:
            assert gap(spectrogram, tensors["spec"]) <= TOLERANCE
        else:
            assert gap(spectrogram[:, ::8], tensors["spec_every8"]) <= TOLERANCE
        assert embedding.shape[1:] == (1, 1, single.feature_dim)
        side_by_side = single.layout.grid(embedding)[:, 0, 0].flatten(1)
        assert gap(side_by_side, tensors[f"embedding{end}"]) <= TOLERANCE


@pytest.mark.parametrize("size", ["tiny", "mini", "small"])
def test_full_size_files_fit_key_by_key(golden: Path, size: Any) -> None:
    keys = json.loads((golden / "key_layouts_eat_fisher.json").read_text())[f"fisher_{size}"]
    with torch.device("meta"):
        own = FISHER(size=size).trunk.state_dict()
        theirs = from_authors({key: torch.empty(shape) for key, shape in keys.items()})
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in own.items()}


@pytest.mark.parametrize(("size", "numbers"), [("tiny", 5_388_288), ("mini", 9_543_680), ("small", 21_393_408)])
def test_published_sizes_have_the_published_parameters(size: Any, numbers: int) -> None:
    with torch.device("meta"):
        encoder = FISHER(size=size)
    assert sum(p.numel() for p in encoder.parameters()) == numbers


@pytest.mark.parametrize(
    ("rate", "bins", "bands", "narrow"),
    [
        (2000, 26, 1, 1),
        (8000, 101, 1, 2),
        (16000, 201, 2, 4),
        (22050, 276, 2, 5),
        (44100, 552, 5, 11),
        (48000, 601, 6, 12),
        (192000, 2401, 24, 48),
    ],
)
def test_bands_and_width_follow_the_sample_rate(rate: int, bins: int, bands: int, narrow: int) -> None:
    wave = torch.randn(1, rate)
    for band_width, number, rows in ((100, bands, 6), (50, narrow, 3)):
        shape = replace(SMALL, band_width=band_width)
        encoder = FISHER(sample_rate=rate, shape=shape).eval()
        spectrogram = encoder.spectrogram(wave)
        assert spectrogram.shape == (1, 98, bins)
        with torch.no_grad():
            assert encoder.encode(spectrogram).shape == (1, 1, number + 6 * number * rows, 16)
        assert encoder.layout.rows == number * rows
        assert encoder.layout.hop_seconds == pytest.approx(0.16, rel=3e-3)
        assert FISHER(sample_rate=rate, shape=shape, tokens="class").feature_dim == number * 16


def test_the_bins_that_fill_no_band_are_not_heard_and_a_narrow_one_is_filled() -> None:
    torch.manual_seed(0)
    encoder = FISHER(sample_rate=44100, shape=SMALL).eval()
    spectrogram = encoder.spectrogram(torch.randn(1, 44100))
    loud = spectrogram.clone()
    loud[:, :, 500:] += 1
    slow = FISHER(sample_rate=2000, shape=SMALL).eval()
    few = slow.spectrogram(torch.randn(1, 2000))
    with torch.no_grad():
        assert torch.equal(encoder.encode(loud), encoder.encode(spectrogram))
        filled = torch.nn.functional.pad(few, (0, 100 - few.shape[2]))
        assert torch.equal(slow.encode(few), slow.encode(filled))


def test_class_tokens_lie_side_by_side_from_low_to_high() -> None:
    torch.manual_seed(0)
    encoder = FISHER(tokens="class", layers=2, shape=replace(SMALL, band_width=16)).eval()
    check_layout(encoder)
    check_frequency(encoder)


def test_positions_are_counted_along_time_where_a_file_says_so() -> None:
    torch.manual_seed(0)
    usual = FISHER(shape=SMALL).eval()
    other = FISHER(shape=replace(SMALL, flatten="time")).eval()
    other.load_state_dict(usual.state_dict())
    wave = torch.randn(2, 16000)
    with torch.no_grad():
        assert gap(other(wave), usual(wave)) > 0.01
        # 6 moments by 6 rows: the same positions at the same patches.
        first = usual.trunk.positions[:, :36].unflatten(1, (6, 6)).transpose(1, 2).flatten(1, 2).clone()
        other.trunk.positions[:, :36] = first
        torch.testing.assert_close(other(wave), usual(wave))


def stored(golden: Path, folder: Path, drop: str = "", **change: Any) -> str:
    content = torch.load(golden / "fisher.pt", weights_only=True)
    model = content["cfg"]["model"]
    for name, value in change.items():
        for part in (model, model["modalities"]["image"]):
            part.pop(name, None)
        if value is not None:
            model["modalities"]["image"][name] = value
    content["model"].pop(drop, None)
    torch.save(content, folder / "w.pt")
    return str(folder / "w.pt")


def test_the_size_is_read_from_the_file(golden: Path, tmp_path: Path) -> None:
    found = FISHER(weights=str(golden / "fisher.pt"))
    assert found.shape == GOLDEN
    assert FISHERShape(**found.settled["shape"]) == GOLDEN
    path = stored(golden, tmp_path, band_width=50, flatten="time", max_length=64, max_freq=100)
    told = FISHER(weights=path)
    assert told.shape == replace(GOLDEN, band_width=50, flatten="time", max_length=64, max_freq=100)
    with pytest.raises(UserError, match=r"another size: band_width 50 \(not 100\), flatten time \(not freq\)"):
        FISHER(weights=path, shape=GOLDEN)
    with pytest.raises(UserError, match=r"width 48 \(not 384\), depth 2 \(not 12\), heads 3 \(not 6\); set shape"):
        FISHER(weights=path, size="small")
    # References within the file's own configuration: the outer value counts.
    content = torch.load(golden / "fisher.pt", weights_only=True)
    content["cfg"]["model"]["modalities"]["image"]["band_width"] = "${model.band_width}"
    torch.save(content, tmp_path / "w.pt")
    assert FISHER(weights=str(tmp_path / "w.pt")).shape == GOLDEN


def test_a_file_that_does_not_tell_its_bands_is_not_guessed_at(golden: Path, tmp_path: Path) -> None:
    path = stored(golden, tmp_path, band_width=None)
    with pytest.raises(UserError, match=r"w\.pt does not tell band_width"):
        FISHER(weights=path)
    assert FISHER(weights=path, shape=replace(GOLDEN, band_width=50)).shape.band_width == 50


def test_a_table_that_is_not_in_the_file_is_computed(golden: Path, tmp_path: Path) -> None:
    with_table = FISHER(weights=str(golden / "fisher.pt")).trunk.positions
    without = FISHER(weights=stored(golden, tmp_path, drop=TABLE)).trunk.positions
    torch.testing.assert_close(without, with_table, rtol=0, atol=1e-4)


def test_the_layout_of_the_hub_is_read(golden: Path, tmp_path: Path) -> None:
    content = torch.load(golden / "fisher.pt", weights_only=True)
    save_file({f"model.{key}": value for key, value in content["model"].items()}, tmp_path / "model.safetensors")
    for config in (content["cfg"], content["cfg"]["model"]):
        (tmp_path / "config.json").write_text(json.dumps(config))
        own = FISHER(weights=str(tmp_path))
        assert own.shape == GOLDEN
        for key, value in FISHER(weights=str(golden / "fisher.pt")).state_dict().items():
            assert torch.equal(own.state_dict()[key], value)


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
@pytest.mark.parametrize("change", [{"max_length": 10**7}, {"max_length": -3}, {"max_freq": 0}])
def test_a_file_whose_table_would_fill_the_memory(golden: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"max_length is -?\d+ and max_freq \d+; give 1 or more of each"):
        FISHER(weights=stored(golden, tmp_path, **change))


def test_files_that_do_not_fit(golden: Path, tmp_path: Path) -> None:
    for file in ("eat_pretrain_fairseq.pt", "eat_hf_finetune"):
        with pytest.raises(UserError, match="is of EAT or SSLAM, not of FISHER"):
            FISHER(weights=str(golden / file))
    with pytest.raises(UserError, match=r"no key blocks\.0\.attn\.qkv\.weight"):
        FISHER(weights=stored(golden, tmp_path, drop="blocks.0.attn.qkv.weight"))
    with pytest.raises(UserError, match="norm_eps is 1e-05, only 1e-06 is supported"):
        FISHER(weights=stored(golden, tmp_path, norm_eps=1e-5))
    half = torch.load(golden / "fisher.pt", weights_only=True)
    half["model"] = {key: value.half() for key, value in half["model"].items()}
    torch.save(half, tmp_path / "half.pt")
    assert {v.dtype for v in FISHER(weights=str(tmp_path / "half.pt")).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 13}, "layers is 13, but there are 12"),
        ({"size": "base"}, "size is 'base'; give tiny or mini or small"),
        ({"sample_rate": 999}, "sample_rate is 999; give 1000 to 10000000 Hz"),
        ({"sample_rate": 10**12}, "sample_rate is 1000000000000; give"),
        ({"tokens": "patches"}, "tokens is 'patches'; give all or class"),
        ({"target_length": 15}, "target_length is 15; give 16 to 17056 frames, or auto"),
        ({"shape": replace(SMALL, band_width=15)}, "band_width is 15 .* give at least 16 bins"),
        ({"shape": replace(SMALL, max_length=10**7)}, "max_length is 10000000 and max_freq 50; give 1 or more of each"),
        ({"shape": replace(SMALL, max_length=-3)}, "max_length is -3 and max_freq 50; give 1 or more of each"),
        ({"shape": replace(SMALL, max_freq=0)}, "max_freq 0; give 1 or more of each, and no more than 100000"),
        ({"shape": replace(SMALL, flatten="both")}, "flatten 'both'; give at least 16 bins, and freq or time"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        FISHER(**options)


def test_clips_of_any_length() -> None:
    torch.manual_seed(0)
    encoder = FISHER(shape=SMALL).eval()
    with pytest.raises(UserError, match="FISHER: clips of 15 frames; it needs at least 16, 175 ms"):
        encoder(torch.zeros(1, 2799))
    with torch.no_grad():
        assert encoder(torch.zeros(1, 2800)).isfinite().all()
        assert FISHER(shape=SMALL, target_length=32).eval()(torch.zeros(1, 10)).shape[2] == 2 + 2 * 12
        long = torch.randn(1, 20 * 16000)
        heard = 400 + 1023 * 160
        # The mean of a clip is taken off before it is cut.
        torch.testing.assert_close(encoder(long)[:, :, :2], encoder(long[:, :heard])[:, :, :2], rtol=0, atol=0.05)
        assert encoder(long).shape[2] == 2 + 64 * 12
    half_deep = FISHER(shape=replace(SMALL, max_length=1)).eval()
    assert half_deep(torch.randn(1, 32000)).shape[2] == 2 + 8 * 12, "as far as positions reach"


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for saving in (False, True):
        torch.manual_seed(0)
        encoder = FISHER(shape=SMALL, gradient_checkpointing=saving).train()
        encoder(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
