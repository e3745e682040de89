"""PaSST equals the authors' implementation with every stride and hop, and takes their files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from asd_plugins.passt import PaSST, PaSSTShape, audioset_classifier
from safetensors.torch import load_file
from torch import Tensor

from asd.errors import UserError
from asd.testing.encoder import check_frequency
from tests.golden_weights import LAYOUTS, made_for, stored

TOLERANCE, FRONT_END = 2e-5, 5e-5
SMALL = PaSSTShape(16, 2, 2, stride=16, positions=30)
NETWORKS = {
    "passt_s10_a_small": PaSSTShape(128, 2, 2),
    "passt_s16_a_small": PaSSTShape(64, 3, 1, stride=16, positions=62),
}


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden2"


@pytest.fixture(params=NETWORKS)
def network(golden: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, dict[str, Tensor]]:
    """A file of weights, and what the authors' code makes of them."""
    path = tmp_path / f"{request.param}.pt"
    torch.save(stored(golden / f"{request.param}.safetensors"), path)
    return str(path), load_file(golden / f"{request.param}.safetensors")


def waves(golden: Path) -> dict[str, Tensor]:
    tensors = load_file(golden / "waves_32000.safetensors")
    return {key.removeprefix("wave_"): value.float() / 32768 for key, value in tensors.items()}


def gap(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("hop", [320, 160, 100])
def test_the_front_end_is_that_of_the_authors(golden: Path, hop: int) -> None:
    tensors, wave = load_file(golden / "passt_frontend.safetensors"), waves(golden)
    encoder = PaSST(shape=replace(SMALL, hop=hop))
    for name in ("1", "2.05", "10"):
        if f"mel_hop{hop}_{name}" in tensors:
            assert gap(encoder.spectrogram(wave[name][None])[0].mT, tensors[f"mel_hop{hop}_{name}"]) <= FRONT_END


def test_outputs_are_those_of_the_authors(golden: Path, network: tuple[str, dict[str, Tensor]]) -> None:
    path, tensors = network
    encoder, classifier = PaSST(tokens="class", weights=path).eval(), audioset_classifier(path)
    for name, wave in waves(golden).items():
        with torch.no_grad():
            both = encoder(wave[None])[0, 0]
            assert gap(both.mean(0), tensors[f"embedding_{name}"]) <= TOLERANCE
            if len(wave) <= encoder.window:
                assert gap(classifier(both.mean(0)), tensors[f"logits_{name}"]) <= TOLERANCE
        if f"cls_{name}" in tensors:
            assert gap(both, torch.stack([tensors[f"cls_{name}"], tensors[f"dist_{name}"]])) <= TOLERANCE


def test_windows_stamps_and_batches_are_those_of_the_authors(
    golden: Path, network: tuple[str, dict[str, Tensor]]
) -> None:
    path, tensors = network
    wave = waves(golden)
    encoder, classifier = PaSST(tokens="class", weights=path).eval(), audioset_classifier(path)
    with torch.no_grad():
        tokens = PaSST(weights=path).eval()(wave["1"][None])[0, 0]
        assert gap(tokens, tensors["tokens_1"]) <= TOLERANCE
        pair = torch.stack([wave["1"], 0.5 * wave["1"].flip(0)])
        assert gap(encoder(pair)[:, 0].mean(1), tensors["batch2_embedding"]) <= TOLERANCE
        long = F.pad(wave["12.3"][None, None], (160000, 160000), mode="reflect")[0, 0].unfold(0, 320000, 80000)
        logits = classifier(encoder(long)[:, 0].mean(1)).mean(0)
        assert gap(logits, tensors["logits_12.3"]) <= TOLERANCE
        short = F.pad(wave["1"][None, None], (2560, 2560), mode="reflect")[0, 0].unfold(0, 5120, 1600)
        assert gap(encoder(short)[:, 0].mean(1), tensors["timestamp_embedding_1"]) <= TOLERANCE


@pytest.mark.slow
def test_full_size_outputs_are_those_of_the_authors(golden: Path, tmp_path: Path) -> None:
    tensors, path = load_file(golden / "passt_s10_full.safetensors"), str(tmp_path / "full.pt")
    torch.save(made_for(golden / "passt_s10_full.safetensors", "passt_s_s10"), path)
    encoder, classifier = PaSST(size="s", tokens="class", weights=path).eval(), audioset_classifier(path)
    for length in ("1", "2.05", "10"):
        with torch.no_grad():
            embedding = encoder(waves(golden)[length][None])[0, 0].mean(0)
            assert gap(embedding, tensors[f"embedding_{length}"]) <= TOLERANCE
            assert gap(classifier(embedding), tensors[f"logits_{length}"]) <= TOLERANCE


@pytest.mark.parametrize(
    ("differs", "options"),
    [
        (None, {}),
        ("passt_s_s12", {"stride": 12}),
        ("passt_s_s14", {"stride": 14}),
        ("passt_s_s16", {"stride": 16}),
        ("passt_s_hop160_or_20sec", {"hop": 160}),
        ("passt_s_hop100", {"hop": 100}),
        ("passt_s_30sec", {"shape": PaSSTShape(768, 12, 12, positions=300)}),
    ],
)
def test_full_size_files_fit_key_by_key(golden: Path, differs: str | None, options: dict[str, Any]) -> None:
    layouts = json.loads((golden / LAYOUTS).read_text())
    keys = layouts["passt_s_s10"] | (layouts["passt_s_s10_differs"][differs] if differs else {})
    with torch.device("meta"):
        own = PaSST(**options).state_dict()
    assert {key: list(value.shape) for key, value in own.items()} == {
        key: shape for key, shape in keys.items() if not key.startswith("head")
    }


def test_published_sizes_have_the_published_parameters() -> None:
    with torch.device("meta"):
        counts = {size: sum(p.numel() for p in PaSST(size=size).parameters()) for size in ("s", "l")}
    assert counts["s"] == pytest.approx(85.35e6, abs=1e4)
    assert counts["s"] - counts["l"] == 5 * 7_087_872


def file_of(folder: Path, name: str, shape: PaSSTShape, **change: Tensor | None) -> str:
    state = PaSST(shape=shape).state_dict() | {"head.0.weight": torch.ones(64), "head_dist.bias": torch.ones(7)}
    state |= {key.replace("__", "."): value for key, value in change.items()}
    torch.save({key: value for key, value in state.items() if value is not None}, folder / name)
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "stride", "positions", "hop"),
    [
        ("a.pt", 10, 99, 320),
        ("a.pt", 12, 83, 320),
        ("a.pt", 14, 71, 320),
        ("a.pt", 16, 62, 320),
        ("a.pt", 10, 320, 100),
        ("a.pt", 10, 300, 320),
        ("passt-s-f128-20sec-p16-s10-ap.474-swa.pt", 10, 200, 320),
        ("passt-s-f128-stfthop160-p16-s10-ap.473-swa.pt", 10, 200, 160),
    ],
)
def test_stride_and_hop_are_read_from_the_file(
    tmp_path: Path, name: str, stride: int, positions: int, hop: int
) -> None:
    shape = PaSSTShape(64, 1, 1, stride, hop, positions)
    path = file_of(tmp_path, name, shape)
    found = PaSST(weights=path)
    assert found.shape == shape
    assert PaSSTShape(**found.settled["shape"]) == shape
    assert found.window == 32000 * {100: 10, 160: 10, 320: max(10, positions // 10)}[hop]
    if positions == 200:
        unnamed = file_of(tmp_path, "unnamed.pt", shape)
        with pytest.raises(UserError, match="200 positions in time, which do not tell its hop; set hop to 160 or 320"):
            PaSST(weights=unnamed)
        assert PaSST(weights=unnamed, hop=hop).shape == shape


def test_files_that_do_not_fit(golden: Path, tmp_path: Path) -> None:
    shape = PaSSTShape(64, 1, 1, 16, 320, 62)
    path = file_of(tmp_path, "a.pt", shape)
    with pytest.raises(UserError, match=r"width 64 \(not 768\), depth 1 \(not 12\), heads 1 \(not 12\); set shape"):
        PaSST(size="s", weights=path)
    with pytest.raises(UserError, match="positions of 8 rows, a stride of 10 has 12; leave stride out"):
        PaSST(stride=10, weights=path)
    with pytest.raises(UserError, match=r"no key dist_token; the file is of another model"):
        PaSST(weights=file_of(tmp_path, "b.pt", shape, dist_token=None))
    with pytest.raises(UserError, match=r"unexpected key blocks\.0\.attn\.rope"):
        PaSST(weights=file_of(tmp_path, "b.pt", shape, blocks__0__attn__rope=torch.ones(2)))
    with pytest.raises(UserError, match=r"freq_new_pos_embed is of shape \(3,\), not of 4 dimensions"):
        PaSST(weights=file_of(tmp_path, "b.pt", shape, freq_new_pos_embed=torch.ones(3)))
    with pytest.raises(UserError, match="positions of 7 rows, which is no published stride"):
        PaSST(weights=file_of(tmp_path, "b.pt", shape, freq_new_pos_embed=torch.ones(1, 64, 7, 1)))
    with pytest.raises(UserError, match="5 positions in time, which do not tell its hop; set hop to 320, 160, 100"):
        PaSST(weights=file_of(tmp_path, "b.pt", shape, time_new_pos_embed=torch.ones(1, 64, 1, 5)))
    with pytest.raises(UserError, match=r"no file of PaSST: it holds EAT, SSLAM or FISHER \("):
        PaSST(weights=str(golden / "fisher.pt"))
    with pytest.raises(UserError, match=r"b\.pt: no key head\.1\.weight"):
        audioset_classifier(file_of(tmp_path, "b.pt", shape))


@pytest.mark.parametrize("seed", range(3))
def test_class_tokens_are_no_rows_of_frequency(seed: int) -> None:
    torch.manual_seed(seed)
    check_frequency(PaSST(shape=replace(SMALL, positions=62), tokens="class"))


def test_long_clips_are_encoded_in_chunks_that_do_not_mix() -> None:
    torch.manual_seed(0)
    encoder = PaSST(shape=SMALL).eval()
    spectrogram = torch.randn(3, 16 * 70 + 5, 128)  # 70 patches in time: two chunks of 30, and 10
    with torch.no_grad():
        together = encoder.encode(spectrogram)
        alone = torch.cat([encoder.encode(one[None]) for one in spectrogram])
        parts = [encoder.encode(part) for part in spectrogram[:, : 16 * 70].split(16 * 30, dim=1)]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    grid = encoder.layout.grid(together)
    assert grid.shape == (3, 1, 70, 8, 16)
    torch.testing.assert_close(grid, torch.cat([encoder.layout.grid(part) for part in parts], dim=2))
    torch.testing.assert_close(together[:, :, :2], torch.stack([part[:, :, :2] for part in parts]).mean(0))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for saving in (False, True):
        torch.manual_seed(0)
        encoder = PaSST(shape=SMALL, gradient_checkpointing=saving).train()
        encoder(torch.randn(2, 32000, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize("tokens", ["all", "class"])
def test_clips_shorter_than_a_patch(tokens: Any) -> None:
    encoder = PaSST(shape=SMALL, tokens=tokens).eval()
    with pytest.raises(UserError, match="PaSST: clips of 4800 samples; it needs at least 4801, 150 ms at 32000 Hz"):
        encoder(torch.zeros(1, 4800))
    assert encoder(torch.zeros(1, 4801)).shape == (1, 1, 2 + 8 * (tokens == "all"), 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 13}, "layers is 13, but there are 12"),
        ({"size": "b"}, "size is 'b'; give s or l"),
        ({"stride": 8}, "stride is 8 and hop None; give 10, 12, 14 or 16, and 320, 160 or 100"),
        ({"hop": 200}, "stride is None and hop 200; give"),
        ({"tokens": "cls"}, "tokens is 'cls'; give all or class"),
        ({"stride": 10, "shape": SMALL}, "stride is 10 and hop None, but shape says otherwise"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        PaSST(**options)
