"""The generic plug-in equals transformers' own feature extractors and models, and loads their folders as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from asd_plugins.transformers_audio import _TINY, TransformersAudio
from torch import Tensor

from asd.errors import UserError
from asd.testing.encoder import burst_offsets
from tests.tiny_transformers import CLAP, TINY, WAV2VEC2, WHISPER


def noise(clips: int, samples: int) -> Tensor:
    return 0.2 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(samples))


def clips_of(waveform: Tensor) -> list[np.ndarray[Any, Any]]:
    return [clip.numpy() for clip in waveform]


@pytest.mark.parametrize("architecture", WAV2VEC2)
def test_waveform_models_equal_transformers(architecture: str) -> None:
    encoder, waveform = TransformersAudio(architecture, config=_TINY, layers=2).eval(), noise(2, 8000)
    inputs = transformers.Wav2Vec2FeatureExtractor()(clips_of(waveform), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = encoder.model(inputs.input_values, output_hidden_states=True)
        features = encoder(waveform)
    assert (features[:, 1] - expected.last_hidden_state).abs().max() < 1e-4
    assert (features[:, 0] - expected.hidden_states[-2]).abs().max() < 1e-4
    assert features.shape[-1] == encoder.feature_dim


@pytest.mark.parametrize("samples", [800, 16000, 31900, 32000, 40000])
def test_whisper_equals_transformers(samples: int) -> None:
    encoder, waveform = TransformersAudio("WhisperModel", config=WHISPER, layers=2).eval(), noise(2, samples)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    inputs = extractor(clips_of(waveform), sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        expected = encoder.model(inputs, output_hidden_states=True)
        features = encoder(waveform)
    tokens = min(100, -(-samples // 320))
    assert features.shape[2] in (tokens, 100)
    assert (features[:, 1] - expected.last_hidden_state[:, : features.shape[2]]).abs().max() < 1e-4
    assert (features[:, 0] - expected.hidden_states[-2][:, : features.shape[2]]).abs().max() < 1e-4


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("samples", [100000, 480000])
def test_clap_equals_transformers(fusion: bool, samples: int) -> None:
    encoder = TransformersAudio("ClapAudioModel", config=CLAP | {"enable_fusion": fusion}).eval()
    extractor = transformers.ClapFeatureExtractor(
        frequency_min=50, frequency_max=14000, truncation="fusion" if fusion else "rand_trunc"
    )
    waveform = noise(2, samples)
    inputs = extractor(clips_of(waveform), sampling_rate=48000, return_tensors="pt").input_features[:, :1].float()
    with torch.no_grad():
        spectrogram = encoder.spectrogram(waveform)
        expected = encoder.model(inputs)
        features = encoder.encode(spectrogram)
    assert (spectrogram - inputs[:, 0]).abs().max() < 1e-3, "in decibels"
    assert (features.mean(2)[:, 0] - expected.pooler_output).abs().max() < 1e-4
    assert features.shape[-1] == encoder.feature_dim


@pytest.mark.parametrize("architecture", TINY)
def test_a_burst_shows_where_it_sounds(architecture: str) -> None:
    torch.manual_seed(0)
    offsets = burst_offsets(TransformersAudio(architecture, config=TINY[architecture]))
    assert max(map(abs, offsets)) <= 1.5, offsets


@pytest.mark.parametrize("architecture", TINY)
def test_every_parameter_is_trained_and_belongs_to_a_stage(architecture: str) -> None:
    encoder = TransformersAudio(architecture, config=TINY[architecture]).train()
    encoder(noise(2, 8000)).square().mean().backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    staged = [p for stage in encoder.stages() for p in stage.parameters()]
    assert sorted(map(id, staged)) == sorted(map(id, encoder.parameters()))
    assert len(encoder.stages()) >= 3


def clap_with_text(tmp_path: Path) -> Any:
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 50,
    }
    config = transformers.ClapConfig(
        text_config=text | {"projection_dim": 8}, audio_config=CLAP | {"enable_fusion": True}
    )
    model = transformers.ClapModel(config)
    model.save_pretrained(tmp_path)
    return model.audio_model


def hubert_with_classifier(tmp_path: Path) -> Any:
    model = transformers.HubertForSequenceClassification(transformers.HubertConfig(**_TINY))
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    return model.hubert


def whisper_with_decoder(tmp_path: Path) -> Any:
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER))
    model.save_pretrained(tmp_path)
    return model.model.encoder


@pytest.mark.parametrize(
    ("architecture", "save"),
    [
        ("ClapAudioModel", clap_with_text),
        ("HubertModel", hubert_with_classifier),
        ("WhisperModel", whisper_with_decoder),
    ],
)
def test_a_published_folder_is_loaded_whole(architecture: str, save: Any, tmp_path: Path) -> None:
    theirs = dict(save(tmp_path).named_parameters())
    encoder = TransformersAudio(architecture, weights=str(tmp_path))
    for name, parameter in encoder.model.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


def test_the_folder_says_whether_waveforms_are_normalised(tmp_path: Path) -> None:
    hubert_with_classifier(tmp_path)
    waveform = noise(2, 8000)
    assert torch.equal(TransformersAudio("HubertModel", str(tmp_path)).spectrogram(waveform)[:, 0], waveform)


def test_an_unknown_architecture_is_guessed() -> None:
    with pytest.raises(UserError, match=r"'Wav2Vec2'\. Did you mean Wav2Vec2Model\? Known: ClapAudioModel, "):
        TransformersAudio("Wav2Vec2")


@pytest.mark.parametrize(("architecture", "layers", "depth"), [("WavLMModel", 3, 2), ("ClapAudioModel", 2, 1)])
def test_more_layers_than_there_are(architecture: str, layers: int, depth: int) -> None:
    with pytest.raises(UserError, match=rf"layers is {layers}, but the model gives {depth}"):
        TransformersAudio(architecture, config=TINY[architecture], layers=layers)


def test_a_clip_shorter_than_one_frame() -> None:
    encoder = TransformersAudio.tiny().eval()
    with pytest.raises(UserError, match="clips of 164 samples are too short for the encoder, which needs 165"):
        encoder(torch.zeros(1, 164))
    assert encoder(noise(1, 165)).shape == (1, 1, 1, 32)


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", connect)
    with pytest.raises(UserError, match=r"weights nobody/nothing cannot be loaded: give a folder .* download true"):
        TransformersAudio("HubertModel", weights="nobody/nothing")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json in the folder"):
        TransformersAudio("HubertModel", weights=str(tmp_path))
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.pt is a file; give the folder"):
        TransformersAudio("HubertModel", weights=str(tmp_path / "model.pt"))


def test_truncated_weights(tmp_path: Path) -> None:
    hubert_with_classifier(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        TransformersAudio("HubertModel", weights=str(tmp_path))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    hubert_with_classifier(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weights": Path}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        TransformersAudio("HubertModel", weights=str(tmp_path))


def test_importing_the_plug_in_leaves_the_library_alone() -> None:
    code = "import sys, asd_plugins.transformers_audio; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
