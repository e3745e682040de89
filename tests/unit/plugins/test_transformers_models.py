"""Every model of the library that hears or speaks is an encoder that works, or is refused with the reason."""

from __future__ import annotations

import copy
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from asd_plugins.bottleneck import Bottleneck
from asd_plugins.lora import LoRA
from asd_plugins.transformers_audio import _TINY, TransformersAudio
from asd_plugins.transformers_models import ARCHITECTURES, REFUSED
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.auto import feature_extraction_auto, modeling_auto

from asd.encoders.projections import linear_layers
from asd.errors import UserError
from asd.testing.compiling import check_compile
from asd.testing.encoder import check_encoder, waveforms
from tests.tiny_transformers import BERT, MOONSHINE, SPEECH_TO_TEXT, TINY

SOUND = ("AUDIO", "SPEECH", "CTC", "SPECTROGRAM", "WAVEFORM")
LISTED = set(feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES).union(
    *(
        getattr(modeling_auto, name) for name in dir(modeling_auto)
        if name.endswith("_MAPPING_NAMES") and any(word in name for word in SOUND)
    )
)  # fmt: skip
OURS = {one.model_type for one in ARCHITECTURES.values()}


def tiny(architecture: str, **options: Any) -> TransformersAudio:
    torch.manual_seed(0)
    return TransformersAudio(architecture, config=TINY[architecture], **options)


def test_all_that_the_library_lists_works_or_is_refused() -> None:
    assert "wavlm" in LISTED
    assert LISTED - OURS - REFUSED.keys() == set()
    assert not OURS & REFUSED.keys()
    assert TINY.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_a_folder_of_a_model_that_is_refused_tells_why(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(UserError, match=rf"is of {model_type}: it.*; (give|choose) |is published by itself") as told:
        TransformersAudio(weights=str(tmp_path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("asked", ["EncodecModel", "encodec"])
def test_the_class_of_a_model_that_is_refused_tells_why(asked: str) -> None:
    with pytest.raises(UserError, match=f"TransformersAudio: {asked} is refused: it is a codec"):
        TransformersAudio(asked)


@pytest.mark.parametrize("architecture", sorted(TINY.keys() - {"WavLMModel"}))
def test_each_holds_to_the_contract(architecture: str) -> None:
    check_encoder(tiny(architecture))


def test_an_export_that_failed_before_is_no_fault_of_an_encoder() -> None:
    encoder = tiny("Wav2Vec2ConformerModel")

    def left_behind(*_: Any) -> None:
        raise AssertionError("a hook that torch.export leaves behind")

    hook = torch.nn.modules.module.register_module_buffer_registration_hook(left_behind)
    try:
        check_compile(encoder)
    finally:
        hook.remove()


@pytest.mark.parametrize("architecture", TINY)
def test_adapters_reach_what_they_stand_beside(architecture: str) -> None:
    for adapted in (LoRA(tiny(architecture), 2, targets="attention"), Bottleneck(tiny(architecture), 2)):
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if adapted.trains(name):
                    parameter.normal_(std=0.1)
        adapted.train()(waveforms(adapted, 1)).square().sum().backward()
        own = {name: p.grad for name, p in adapted.named_parameters() if adapted.trains(name)}
        assert [name for name, gradient in own.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("architecture", TINY)
def test_the_layers_are_stages_of_their_own(architecture: str) -> None:
    encoder = tiny(architecture)
    ends = encoder.projections.attention
    for stage in encoder.stages()[1:]:
        assert linear_layers(torch.nn.ModuleDict({"self": stage}), [end.removeprefix("self.") for end in ends])


def test_wavlm_whose_attention_is_called_equals_transformers() -> None:
    encoder = tiny("WavLMModel", layers=2).eval()
    theirs = transformers.WavLMModel(encoder.model.config).eval()
    theirs.load_state_dict(encoder.model.state_dict(), strict=False)
    waveform = waveforms(encoder, 2)
    with torch.no_grad():
        expected = theirs(encoder.spectrogram(waveform)[:, 0]).last_hidden_state
        torch.testing.assert_close(encoder(waveform)[:, -1], expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(copy.deepcopy(encoder)(waveform), encoder(waveform))


@pytest.mark.parametrize("samples", [8000, 16000, 16160])
def test_the_filter_bank_of_bert_is_the_library_s(samples: int) -> None:
    encoder = tiny("Wav2Vec2BertModel").eval()
    waveform = waveforms(encoder, 2, samples / 16000)
    extractor = transformers.SeamlessM4TFeatureExtractor()
    inputs = extractor([one.numpy() for one in waveform], sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = encoder.model(**inputs).last_hidden_state
        found = encoder(waveform)[:, 0]
    heard = int(inputs.attention_mask[0].sum())
    assert found.shape[1] == heard
    torch.testing.assert_close(found, expected[:, :heard], rtol=1e-3, atol=1e-3)


def test_the_filter_bank_of_speech_to_text_is_the_library_s() -> None:
    encoder = tiny("Speech2TextModel").eval()
    waveform = waveforms(encoder, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = transformers.Speech2TextFeatureExtractor()
    inputs = extractor([one.numpy() for one in waveform], sampling_rate=16000, return_tensors="pt").input_features
    torch.testing.assert_close(encoder.spectrogram(waveform), inputs, rtol=1e-3, atol=1e-3)


def test_moonshine_hears_the_waveform_as_it_is() -> None:
    encoder = tiny("MoonshineModel")
    waveform = waveforms(encoder, 2)
    assert torch.equal(encoder.spectrogram(waveform)[:, 0], waveform)


def saved(folder: Path, model: str, config: dict[str, Any]) -> Any:
    made = getattr(transformers, model)(getattr(transformers, model).config_class(**config))
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize(
    ("architecture", "config", "part"),
    [
        ("MoonshineModel", MOONSHINE, "encoder"),
        ("Speech2TextModel", SPEECH_TO_TEXT, "encoder"),
        ("Wav2Vec2BertModel", BERT, ""),
    ],
)
def test_a_folder_says_itself_what_it_is(architecture: str, config: dict[str, Any], part: str, tmp_path: Path) -> None:
    theirs = saved(tmp_path, architecture, config)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    encoder = TransformersAudio(weights=str(tmp_path))
    assert encoder.settled["architecture"] == architecture
    state = (getattr(theirs, part) if part else theirs).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in encoder.model.state_dict().items())
    again = TransformersAudio(**encoder.settled)
    again.load_state_dict(encoder.state_dict())
    waveform = waveforms(encoder, 1)
    with torch.no_grad():
        assert torch.equal(again.eval()(waveform), encoder.eval()(waveform))


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "HubertModel", _TINY)
    with pytest.raises(UserError, match="is of hubert, not of WavLMModel; set architecture to HubertModel"):
        TransformersAudio("WavLMModel", weights=str(tmp_path))


def test_weights_of_a_model_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "soundformer"}')
    with pytest.raises(UserError, match="is of soundformer, which is not known here; set architecture to one of Clap"):
        TransformersAudio(weights=str(tmp_path))


def test_weights_without_a_feature_extractor(tmp_path: Path) -> None:
    saved(tmp_path, "HubertModel", _TINY)
    with pytest.raises(UserError, match=r"no preprocessor_config\.json.*; put that of the model beside, or set config"):
        TransformersAudio(weights=str(tmp_path))
    assert TransformersAudio(weights=str(tmp_path), config={"do_normalize": False}).inputs.normalize is False


def changed(state: dict[str, Tensor], change: str) -> dict[str, Tensor]:
    key = next(name for name in state if name.endswith("encoder.layers.0.attention.q_proj.weight"))
    if change == "broken":
        return state | {key: torch.full_like(state[key], math.nan)}
    if change == "newer":
        return state | {key.replace("attention.q_proj", "newthing"): torch.ones(3)}
    return state | {key: torch.ones(5, 6)}


@pytest.mark.parametrize("model", ["HubertModel", "HubertForSequenceClassification"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("broken", r"encoder\.layers\.0\.attention\.q_proj\.weight is not finite"),
        ("newer", r"unexpected key encoder\.layers\.0\.newthing\.weight; the file is of another model"),
        ("larger", r"q_proj\.weight is of shape \(5, 6\), expected \(32, 32\); the file is of another size"),
    ],
)
def test_weights_that_are_not_the_model_s(model: str, change: str, message: str, tmp_path: Path) -> None:
    saved(tmp_path, model, _TINY)
    file = tmp_path / "model.safetensors"
    save_file(changed(load_file(file), change), file, {"format": "pt"})
    with pytest.raises(UserError, match=message):
        TransformersAudio(weights=str(tmp_path), config={"do_normalize": True})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", r"preprocessor_config\.json, or processor_config\.json, is no JSON of settings; get it again"),
        ("[]", "is no JSON of settings"),
        ('{"do_normalize": "yes"}', r"of .*, or config, says do_normalize is 'yes'; it must be true or false"),
        (
            '{"do_normalize": true, "sampling_rate": "16000"}',
            "says sampling_rate is '16000'; it must be a whole number",
        ),
        ('{"do_normalize": true, "sampling_rate": 0}', "says sampling_rate is 0"),
        ('{"do_normalize": true, "sampling_rate": true}', "says sampling_rate is True"),
    ],
)
def test_settings_of_inputs_that_are_damaged(content: str, message: str, tmp_path: Path) -> None:
    saved(tmp_path, "HubertModel", _TINY)
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        TransformersAudio(weights=str(tmp_path))


def test_the_sample_rate_is_that_of_the_folder(tmp_path: Path) -> None:
    saved(tmp_path, "HubertModel", _TINY)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(tmp_path)
    encoder = TransformersAudio(weights=str(tmp_path))
    assert encoder.sample_rate == TransformersAudio(**encoder.settled).sample_rate == 8000
