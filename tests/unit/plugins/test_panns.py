"""PANNs equal the authors' code, every network at its published size and at others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from asd_plugins.panns import PANNs, audioset_classifier
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from asd.errors import Notice, UserError
from tests.golden_weights import by_rule, gap

LENGTHS = ("1", "2.05", "10")
LAYOUTS = "golden2/key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"
NARROW = {"cnn14": [2, 3, 4, 5, 6, 7], "cnn10": [2, 3, 4, 5], "cnn6": [2, 3, 4, 5]}


def published(encoder: PANNs, bins: int | None = 513, bands: int = 64) -> dict[str, Tensor]:
    """The state dict of an encoder as the authors lay it out, the mel filters of the given size."""
    state = {key.removeprefix("features."): value for key, value in encoder.state_dict().items()}
    width = encoder.feature_dim
    state |= {"fc_audioset.weight": torch.ones(527, width), "fc_audioset.bias": torch.ones(527)}
    return state if bins is None else state | {"logmel_extractor.melW": torch.ones(bins, bands)}


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A file of narrow random weights of CNN10."""
    torch.save({"model": published(PANNs("cnn10", widths=NARROW["cnn10"]))}, tmp_path / "small.pth")
    return str(tmp_path / "small.pth")


def wave(shared: Path, rate: int, length: str) -> Tensor:
    return load_file(shared / f"golden2/waves_{rate}.safetensors")[f"wave_{length}"][None].float() / 32768


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rate", [16000, 32000])
def test_the_log_mel_is_that_of_the_authors(shared: Path, rate: Any, length: str) -> None:
    expected = load_file(shared / "golden2/panns_frontend.safetensors")[f"logmel_{rate}_{length}"]
    encoder = PANNs("cnn6", rate, widths=NARROW["cnn6"])
    assert gap(encoder.spectrogram(wave(shared, rate, length))[0], expected) < 5e-6


def check(shared: Path, name: str, rate: Any, weights: str) -> None:
    golden = load_file(shared / f"golden2/panns_{name}.safetensors")
    encoder, classifier = PANNs(sample_rate=rate, weights=weights).eval(), audioset_classifier(weights)
    kept = PANNs(sample_rate=rate, frames="kept", rows="kept", weights=weights).eval()
    with torch.no_grad():
        for length in LENGTHS:
            clip = wave(shared, rate, length)
            embedding, maps = encoder(clip)[:, 0, 0], kept.layout.grid(kept(clip))[0, 0].permute(2, 0, 1)
            assert gap(embedding[0], golden[f"embedding_{length}"]) < 5e-6
            assert gap(classifier(embedding)[0].sigmoid(), golden[f"clipwise_{length}"]) < 5e-6
            if f"map_{length}" in golden:
                assert gap(maps, golden[f"map_{length}"]) < 5e-6
            else:
                assert gap(maps.mean((1, 2)), golden[f"map_mean_{length}"]) < 5e-6
        if "batch2_embedding" in golden:
            clip = wave(shared, rate, "1")
            batch = torch.cat([clip, 0.5 * clip.flip(1)])
            assert gap(encoder(batch)[:, 0, 0], golden["batch2_embedding"]) < 5e-6


@pytest.mark.parametrize(
    ("name", "rate"), [("cnn14_32k", 32000), ("cnn14_16k", 16000), ("cnn10", 32000), ("cnn6", 32000)]
)
def test_embeddings_maps_and_classes_are_those_of_the_authors(shared: Path, name: str, rate: int) -> None:
    check(shared, f"{name}_small", rate, str(shared / f"golden2/panns_{name}_small.safetensors"))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pytest.param("cnn14_32k", "Cnn14_32k", marks=pytest.mark.slow),
        pytest.param("cnn14_16k", "Cnn14_16k", marks=pytest.mark.slow),
        ("cnn10", "Cnn10"),
        ("cnn6", "Cnn6"),
    ],
)
def test_the_published_sizes_are_those_of_the_authors(shared: Path, tmp_path: Path, name: str, layout: str) -> None:
    keys = json.loads((shared / LAYOUTS).read_text())[f"panns_{layout}"]
    with safe_open(shared / f"golden2/panns_{name}_full.safetensors", "pt") as golden:
        said = golden.metadata()
    save_file(by_rule(keys, int(said["seed"]), float(said["gain"])), tmp_path / "full.safetensors")
    assert PANNs(weights=str(tmp_path / "full.safetensors")).sample_rate == int(said["sample_rate"])
    check(shared, f"{name}_full", int(said["sample_rate"]), str(tmp_path / "full.safetensors"))


@pytest.mark.parametrize("layout", ["Cnn14_32k", "Cnn14_16k", "Cnn10", "Cnn6"])
def test_published_files_fit_key_by_key(shared: Path, layout: str) -> None:
    keys = json.loads((shared / LAYOUTS).read_text())[f"panns_{layout}"]
    size: Any = layout.split("_")[0].lower()
    with torch.device("meta"):
        own = published(PANNs(size), keys["logmel_extractor.melW"][0])
    stft = {key: shape for key, shape in keys.items() if key.startswith("spectrogram_extractor.")}
    assert {key: list(value.shape) for key, value in own.items()} | stft == keys


@pytest.mark.parametrize("size", NARROW)
@pytest.mark.parametrize("pooled", [False, True])
def test_blocks_and_rows_are_maps_of_the_whole_network(size: Any, pooled: bool) -> None:
    torch.manual_seed(0)
    widths = NARROW[size]
    whole = PANNs(size, widths=widths).eval()
    mel = whole.spectrogram(torch.randn(2, 32000))
    assert mel.shape == (2, 101, 64)
    for blocks in [len(widths)] if pooled else range(1, 1 + len(widths)):
        options: Any = {"blocks": blocks, "frames": "pooled" if pooled else "kept", "widths": widths}
        kept, averaged = PANNs(size, rows="kept", **options).eval(), PANNs(size, **options).eval()
        for one in (kept, averaged):
            one.load_state_dict({key: whole.state_dict()[key] for key in one.state_dict()})
        assert kept.feature_dim == averaged.feature_dim == widths[blocks - 1]
        with torch.no_grad():
            maps = whole.bn0(mel.mT).mT[:, None]
            for block in whole.features[:blocks]:
                maps = block(maps)
            averages = maps.mean(3, keepdim=True)
            if pooled:
                assert whole.fc1 is not None
                maps, averages = (
                    whole.fc1((one.amax(2) + one.mean(2)).mT).relu().mT[:, :, None] for one in (maps, averages)
                )
            torch.testing.assert_close(kept.layout.grid(kept.encode(mel))[:, 0], maps.permute(0, 2, 3, 1))
            torch.testing.assert_close(averaged.encode(mel)[:, 0], averages.squeeze(3).mT)


def test_the_pooled_frame_is_one_graph() -> None:
    encoder = PANNs("cnn10", widths=NARROW["cnn10"]).eval()
    spectrogram = encoder.spectrogram(torch.randn(2, 32000))
    compiled = torch.compile(encoder.encode, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(spectrogram), encoder.encode(spectrogram))


@pytest.mark.parametrize(
    ("size", "rate", "samples"), [("cnn14", 32000, 9920), ("cnn6", 32000, 4800), ("cnn14", 16000, 4960)]
)
def test_clips_too_short_for_the_network_are_padded(size: Any, rate: Any, samples: int) -> None:
    encoder = PANNs(size, rate, widths=NARROW[size]).eval()
    clip = torch.randn(2, samples)
    clip[:, 100:] = 0
    with torch.no_grad():
        assert encoder.spectrogram(clip).shape[1] == (32 if size == "cnn14" else 16)
        assert torch.equal(encoder(clip[:, :100]), encoder(clip))


def test_every_parameter_is_trained_and_belongs_to_a_stage() -> None:
    encoder = PANNs("cnn6", widths=[8] * 4).train()
    encoder(torch.randn(2, 16000)).square().mean().backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    staged = [p for stage in encoder.stages() for p in stage.parameters()]
    assert len(staged) == len(list(encoder.parameters()))


def test_the_front_end_stays_in_float32() -> None:
    encoder, waveform = PANNs.tiny().eval(), torch.randn(2, 32000)
    expected = encoder.spectrogram(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.spectrogram(waveform), expected)


@pytest.mark.parametrize("size", NARROW)
@pytest.mark.parametrize(("rate", "bins"), [(32000, 513), (16000, 257)])
def test_network_rate_and_widths_are_read_from_the_file(tmp_path: Path, size: Any, rate: int, bins: int) -> None:
    state = published(PANNs(size, widths=NARROW[size]), bins)
    save_file({key: value.half().contiguous() for key, value in state.items()}, tmp_path / "half.safetensors")
    found = PANNs(weights=str(tmp_path / "half.safetensors"))
    assert found.settled == {"size": size, "sample_rate": rate, "widths": NARROW[size]}
    assert found.sample_rate == rate
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    assert torch.equal(found.features[0].conv1.weight, state["conv_block1.conv1.weight"].half().float())
    again = PANNs(**found.settled)
    assert again.state_dict().keys() == found.state_dict().keys()


def test_a_file_that_does_not_say_its_rate_is_taken_for_the_usual_one_aloud(tmp_path: Path) -> None:
    save_file(published(PANNs("cnn6", widths=NARROW["cnn6"]), None), tmp_path / "bare.safetensors")
    with pytest.warns(Notice, match=r"bare\.safetensors does not say its sample rate; 32000 Hz is taken"):
        assert PANNs(weights=str(tmp_path / "bare.safetensors")).sample_rate == 32000
    assert PANNs(sample_rate=16000, weights=str(tmp_path / "bare.safetensors")).sample_rate == 16000


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
def test_files_that_do_not_fit_say_why(small: str, shared: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ({"size": "cnn14"}, "is of cnn10; set size to it"),
        ({"sample_rate": 16000}, "is of 32000 Hz; set sample_rate to it"),
        ({"widths": [9] * 4}, r"has widths \[2, 3, 4, 5\]; set widths to them"),
    ):
        with pytest.raises(UserError, match=rf"small\.pth {said}, or leave it out"):
            PANNs(weights=small, **arguments)  # type: ignore[arg-type]
    for name, held in (("aisfx_small", "aiSFX"), ("yamnet_small", "YAMNet")):
        with pytest.raises(UserError, match=f"is no file of PANNs: it holds {held}"):
            PANNs(weights=str(shared / f"golden2/{name}.safetensors"))
    state = published(PANNs("cnn10", widths=NARROW["cnn10"]))
    for name, changed, said in (
        ("less", {key: value for key, value in state.items() if key != "conv_block2.bn1.bias"}, "no key conv_block2"),
        ("more", state | {"att_block.att.weight": torch.ones(1)}, "unexpected key att_block"),
        ("fewer", {k: v for k, v in state.items() if "block4" not in k}, "3 blocks of 2 convolutions of 3 by 3; cnn14"),
        ("emb", state | {"fc1.weight": torch.ones(3, 5)}, r"fc1.weight is of shape \(3, 5\), expected \(5, 5\)"),
        ("mel128", state | {"logmel_extractor.melW": torch.ones(513, 128)}, "has 128 mel bands; only those of 64"),
        (
            "flat",
            state | {"logmel_extractor.melW": torch.ones(513)},
            r"of shape \(513,\), not of 2 dimensions; the file",
        ),
        ("8k", state | {"logmel_extractor.melW": torch.ones(129, 64)}, "windows of 256 samples; only 32000 and 16000"),
        (
            "huge",
            state | {f"conv_block{n}.conv1.weight": torch.ones(1).expand(9000, 1, 3, 3) for n in (1, 2)},
            "promises",
        ),
    ):
        torch.save(changed, tmp_path / f"{name}.pth")
        with pytest.raises(UserError, match=rf"{name}\.pth.*{said}"):
            PANNs(weights=str(tmp_path / f"{name}.pth"))
    torch.save({k: v for k, v in state.items() if not k.startswith("fc_audioset")}, tmp_path / "headless.pth")
    assert PANNs(weights=str(tmp_path / "headless.pth")).feature_dim == 5
    with pytest.raises(UserError, match=r"no key fc_audioset\.weight"):
        audioset_classifier(str(tmp_path / "headless.pth"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "PANNs: layers is 2; .* choose it by blocks"),
        ({"size": "cnn6", "blocks": 5}, "PANNs: blocks is 5; it has 1 to 4"),
        ({"size": "cnn6", "blocks": 3}, "PANNs: frames is pooled, for which all 4 blocks are run; set frames to kept"),
        ({"rows": "all"}, "PANNs: rows is 'all'; choose averaged or kept"),
        ({"frames": "all"}, "PANNs: frames is 'all'; choose one of pooled, kept"),
        ({"size": "cnn12"}, "PANNs: size is 'cnn12'; choose one of cnn14, cnn10, cnn6"),
        ({"sample_rate": 44100}, "PANNs: sample_rate is 44100; choose one of 32000, 16000"),
        ({"widths": [4] * 4}, "PANNs: widths is .*; give 6 numbers of channels"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        PANNs(**arguments)
