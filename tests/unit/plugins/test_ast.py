"""AST equals transformers' own feature extractor and model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from asd_plugins.ast import AST
from torch import Tensor

from asd.errors import UserError
from asd.testing.encoder import check_frequency

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned model as published, with positions that tell when they are lost."""
    path = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**TINY, max_length=128))
    embeddings = model.audio_spectrogram_transformer.embeddings
    torch.nn.init.normal_(embeddings.position_embeddings)
    torch.nn.init.normal_(embeddings.cls_token)
    model.save_pretrained(path)
    transformers.ASTFeatureExtractor(max_length=128, mean=-5.0, std=4.0).save_pretrained(path)
    return path


def official(folder: Path, waveform: Tensor, max_length: int = 128) -> tuple[Tensor, Any]:
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder, max_length=max_length)
    clips = [clip.numpy() for clip in waveform]
    inputs = extractor(clips, sampling_rate=16000, return_tensors="pt").input_values
    model = transformers.ASTModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return inputs, model(inputs, output_hidden_states=True)


@pytest.mark.parametrize("samples", [4000, 20000, 32000])
def test_outputs_are_those_of_transformers(folder: Path, samples: int) -> None:
    waveform = 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    encoder = AST(weights=str(folder), frames=128, layers=2).eval()
    inputs, expected = official(folder, waveform)
    with torch.no_grad():
        spectrogram = encoder.spectrogram(waveform)
        features = encoder.encode(spectrogram)
    assert (spectrogram - inputs[:, : spectrogram.shape[1]]).abs().max() < 1e-4
    assert (features[:, 1] - expected.last_hidden_state).abs().max() < 1e-4
    assert (features[:, 0] - expected.hidden_states[-2]).abs().max() < 1e-4


def test_the_mean_of_the_class_tokens_is_the_embedding_of_the_authors(folder: Path) -> None:
    waveform = torch.randn(2, 20000)
    features = AST(weights=str(folder), frames=128, tokens="class").eval()(waveform)
    assert features.shape == (2, 1, 2, 32)
    for seed in range(3):  # two tokens of all frequencies, not rows
        torch.manual_seed(seed)
        check_frequency(AST(frames=64, config=TINY, tokens="class"))
    assert (features.mean(2)[:, 0] - official(folder, waveform)[1].pooler_output).abs().max() < 1e-4


def test_positions_are_cut_to_the_middle_or_stretched(folder: Path) -> None:
    def grid(frames: int) -> Tensor:
        positions: Tensor = AST(weights=str(folder), frames=frames).model.embeddings.position_embeddings
        return positions[:, 2:].reshape(1, 12, -1, 32).detach()

    whole = grid(128)
    assert whole.shape[2] == 12
    assert torch.equal(grid(66), whole[:, :, 3:9])
    longer = grid(250)
    assert longer.shape[2] == 24
    between = 0.75 * whole[:, :, :-1] + 0.25 * whole[:, :, 1:]
    assert torch.allclose(longer[:, :, 1:-1:2], between, atol=1e-5)
    features = AST(weights=str(folder), frames=250).eval()(torch.randn(1, 40000))
    assert features.shape == (1, 1, 2 + 12 * 24, 32)


def test_every_parameter_is_trained_and_belongs_to_a_stage() -> None:
    encoder = AST.tiny().train()
    encoder(torch.randn(2, 9000)).square().mean().backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    staged = [p for stage in encoder.stages() for p in stage.parameters()]
    assert sorted(map(id, staged)) == sorted(map(id, encoder.parameters()))


def test_the_table_states_the_default_model() -> None:
    with torch.device("meta"):
        encoder = AST()
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    assert AST.listing == (f"{encoder.sample_rate} Hz", str(encoder.feature_dim), f"{millions:.2f} M")


def test_a_folder_whose_weights_are_incomplete(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    lost = next(key for key in state if key.endswith("layernorm.weight") and "layer." not in key)
    del state[lost]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UserError, match=r"no key layernorm\.weight; the file is of another model or size"):
        AST(weights=str(tmp_path), frames=128)


def test_a_folder_of_another_size(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r": embeddings\.cls_token is of shape \(1, 1, 32\), expected \(1, 1, 64\)"):
        AST(weights=str(tmp_path), frames=128)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("eat", "choose the encoder EAT"), ("hubert", "choose TransformersAudio"), ("new", "give those")],
)
def test_a_folder_of_another_model(kind: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(UserError, match=rf"AST: .* is of {kind}: .*{remedy}"):
        AST(weights=str(tmp_path))


def test_settings_of_the_input_that_are_none(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "preprocessor_config.json").write_text('{"mean": -4.0, "std": 0}')
    with pytest.raises(UserError, match=r"preprocessor_config\.json of .* says std is 0; it must be a number above 0"):
        AST(weights=str(tmp_path), frames=128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 3}, r"layers is 3, but the model gives 2; set layers to 1 \.\.\. 2"),
        ({"layers": 0}, "layers is 0"),
        ({"frames": 15}, "frames is 15, fewer than one patch; give at least 16"),
        ({"tokens": "none"}, "tokens is 'none'; give all or class"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AST(**{"frames": 64, "config": TINY, **arguments})
