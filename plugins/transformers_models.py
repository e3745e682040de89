"""Which models of the transformers library are audio encoders here, and why the others are not.

The list of models that hear or speak is the library's own; a newer release may know more.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from asd_plugins.transformers_inputs import ClapInput, KaldiInput, WaveformInput, WhisperInput
from torch import nn

from asd.encoders import Projections, TokenLayout
from asd.errors import UserError

Inputs = Literal["waveform", "kaldi", "whisper", "clap"]


@dataclass(frozen=True)
class Architecture:
    """A class of the library.

    Attributes:
        model_type: What ``config.json`` calls it.
        projections: Which of its linear layers adapters stand beside.
        inputs: What it hears.
        encodes: Part of the model that is the encoder; none: all of it.
        normalise: Clips have zero mean and unit variance, unless the folder says otherwise.
        layers: Whether layers before the deepest can be given.
        expected_failures: Name of a check of `asd.testing` to the reason why this model cannot pass it.
    """

    model_type: str
    projections: Projections
    inputs: Inputs = "waveform"
    encodes: str = ""
    normalise: bool = True
    layers: bool = True
    expected_failures: Mapping[str, str] = field(default_factory=dict)


_QKV = ("q_proj", "k_proj", "v_proj")
_WAV2VEC2 = Projections(_QKV, ("out_proj", "output_dense"))
_CONFORMER = Projections(("linear_q", "linear_k", "linear_v"), ("linear_out", "output_dense"))
_DEBERTA = Projections(("self.query_proj", "self.key_proj", "self.value_proj"), ("output.dense",))
_SWIN = Projections(("query", "key", "value"), ("output.dense",))
_BART = Projections(_QKV, ("out_proj", "fc2"))

_BANDS = 80

ARCHITECTURES = {
    "ClapAudioModel": Architecture("clap", _SWIN, "clap", layers=False),
    "Data2VecAudioModel": Architecture("data2vec-audio", _WAV2VEC2),
    "HubertModel": Architecture("hubert", _WAV2VEC2),
    "MoonshineModel": Architecture(
        "moonshine", Projections(_QKV, ("o_proj", "fc2")), encodes="encoder", normalise=False
    ),
    # Their layers work at half the rate of what they give.
    "SEWDModel": Architecture(
        "sew-d",
        _DEBERTA,
        layers=False,
        expected_failures={"meta": "its softmax fills with a number that lies on the CPU"},
    ),
    "SEWModel": Architecture("sew", _WAV2VEC2, layers=False),
    "Speech2TextModel": Architecture("speech_to_text", _BART, "kaldi", "encoder"),
    "UniSpeechModel": Architecture("unispeech", _WAV2VEC2),
    "UniSpeechSatModel": Architecture("unispeech-sat", _WAV2VEC2),
    "Wav2Vec2BertModel": Architecture("wav2vec2-bert", _CONFORMER, "kaldi"),
    "Wav2Vec2ConformerModel": Architecture("wav2vec2-conformer", _CONFORMER),
    "Wav2Vec2Model": Architecture("wav2vec2", _WAV2VEC2),
    "WavLMModel": Architecture("wavlm", _WAV2VEC2),
    "WhisperModel": Architecture("whisper", _BART, "whisper", "encoder"),
}
_BY_TYPE = {one.model_type: name for name, one in ARCHITECTURES.items()} | {"clap_audio_model": "ClapAudioModel"}

_CODEC = "it is a codec, which makes codes for its decoder, not features of layers; give an encoder such as HubertModel"
_SPEAKS = "it makes speech or music out of something else and has no encoder of audio; give one such as HubertModel"
_WITHIN = (
    "its audio encoder is a part of a language model, in whose files little is of audio; give an encoder that is "
    "published by itself, such as WhisperModel"
)
_SPECTROGRAM = (
    "its encoder hears a spectrogram that is not made here; give an encoder of speech whose spectrogram is, such as "
    "WhisperModel or Wav2Vec2BertModel"
)
_OF_MODEL_TYPES = {
    "audio-spectrogram-transformer": "it is an encoder of its own; choose the encoder AST and the same weights",
    "eat": "it is an encoder of its own; choose the encoder EAT and the same weights",
    "clvp": "its audio encoder only ranks speech that was made from text; give ClapAudioModel",
    "pop2piano": "it is made to write notes from beats that are found before; give an encoder such as WhisperModel",
    "speech-encoder-decoder": "it is two models in one; give the folder of its encoder",
    "speecht5": "its encoder is joined to those of text and speech around it; give Wav2Vec2Model or WavLMModel",
    **dict.fromkeys(
        ("seamless_m4t", "seamless_m4t_v2"), "its speech encoder is published by itself: Wav2Vec2BertModel"
    ),
    **dict.fromkeys(
        ("omniasr", "omniasr_ctc"), "its audio encoder is a wav2vec 2.0 under other names; give Wav2Vec2Model"
    ),
    "moonshine_streaming": "it hears a stream in pieces of its own; give MoonshineModel",
    "nemotron3_diarization": "it tells speakers apart, for which it hears a stream; give an encoder such as WavLMModel",
}
_GROUPS = {
    _CODEC: """dac encodec higgs_audio_v2_tokenizer mimi neucodec pocket_tts_audio_tokenizer
    vibevoice_acoustic_tokenizer wavtokenizer xcodec xcodec2""",
    _SPEAKS: """bark csm dia fastspeech2_conformer fastspeech2_conformer_with_hifigan gradium_phonon_tts higgs_audio_v2
    moshi musicgen musicgen_melody pocket_tts univnet vibevoice vits""",
    _WITHIN: """apertus1p5 audioflamingo3 canary cohere_asr dots3_note embedding_gemma2 fun_asr_nano gemma3n gemma4
    gemma4_unified glmasr granite_speech granite_speech_plus inkling_mm_model kyutai_speech_to_text
    moss_transcribe_diarize muse_spark nemo_speechlm pe_audio pe_audio_video phi4_multimodal qwen2_5_omni qwen2_audio
    qwen3_asr qwen3_omni_moe vibevoice_asr voxtral voxtral_realtime""",
    _SPECTROGRAM: """granite_speech5_ctc granite_speech5_encoder lasr_ctc lasr_encoder nemotron3_5_asr
    nemotron_asr_streaming nemotron_asr_streaming_encoder parakeet_ctc parakeet_encoder parakeet_rnnt parakeet_tdt""",
}
REFUSED = _OF_MODEL_TYPES | {name: reason for reason, names in _GROUPS.items() for name in names.split()}
"""By model type, why a model that hears or speaks is no encoder here, and what to do."""


def chosen(asked: str | None, weights: str | None, model_type: str | None) -> str:
    """The class that is asked for, else that of the weights, else WavLM's.

    Args:
        asked: Name of a class.
        weights: Where weights are; ``None``: there are none.
        model_type: What their ``config.json`` says.

    Raises:
        UserError: There is no such class here, or the weights are of another one, or of none; says what to do.
    """
    _check_known(asked)
    if weights is None or model_type is None:
        return asked or "WavLMModel"
    found = _BY_TYPE.get(model_type)
    if found is None and model_type in REFUSED:
        raise UserError(f"TransformersAudio: {weights} is of {model_type}: {REFUSED[model_type]}")
    if found is None and asked is None:
        raise UserError(
            f"TransformersAudio: {weights} is of {model_type}, which is not known here; set architecture to one of "
            f"{', '.join(ARCHITECTURES)} if it is of that kind"
        )
    if found is not None and asked not in (None, found):
        raise UserError(
            f"TransformersAudio: {weights} is of {model_type}, not of {asked}; set architecture to {found}, or "
            "leave it out"
        )
    return found or asked or ""


def check_type(encoder: str, weights: str, model_type: str | None, own: str) -> None:
    """Raise `UserError` for weights of another model than an encoder's own; says which encoder has them.

    Args:
        encoder: Its name, for messages.
        weights: Where they are.
        model_type: What their ``config.json`` says; ``None``: nothing.
        own: What it must say, if anything.
    """
    if model_type in (None, own):
        return
    usual = "choose TransformersAudio and the same weights" if model_type in _BY_TYPE else f"give those of {own}"
    raise UserError(f"{encoder}: {weights} is of {model_type}: {REFUSED.get(model_type, usual)}")


def _check_known(asked: str | None) -> None:
    if asked is None or asked in ARCHITECTURES:
        return
    # Imports transformers, which the user has to wait for only to be told more.
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    types = {name: kind for kind, name in MODEL_MAPPING_NAMES.items() if isinstance(name, str)}
    reason = REFUSED.get(types.get(asked, asked))
    if reason is not None:
        raise UserError(f"TransformersAudio: {asked} is refused: {reason}")
    near = difflib.get_close_matches(asked, ARCHITECTURES, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"TransformersAudio: unknown architecture {asked!r}.{guess} Known: {', '.join(ARCHITECTURES)}")


def hearing(
    kind: Architecture, options: Any, settings: Mapping[str, Any], fusion: bool
) -> tuple[int, nn.Module, TokenLayout]:
    """The sample rate of a model, what makes its inputs, and where its tokens lie.

    Args:
        kind: Of model.
        options: Its configuration.
        settings: Of its inputs, as far as they are said.
        fusion: Whether it was trained with feature fusion.
    """
    if kind.inputs == "clap":
        return 48000, ClapInput(options.num_mel_bins, slaney=not fusion), TokenLayout()
    if kind.inputs == "whisper":
        inputs = WhisperInput(options.num_mel_bins, 2 * options.max_source_positions)
        return 16000, inputs, TokenLayout(hop_seconds=0.02, start_seconds=-0.01)
    if kind.inputs == "kaldi":
        return 16000, *_kaldi(options)
    sample_rate = settings.get("sampling_rate", 16000)
    kernels, strides = _convolutions(options)
    hop, field = prod(strides), 1 + sum((kernel - 1) * prod(strides[:i]) for i, kernel in enumerate(kernels))
    shortest = field + (getattr(options, "squeeze_factor", 1) - 1) * hop
    layout = TokenLayout(hop_seconds=hop / sample_rate, start_seconds=(field - hop) / 2 / sample_rate)
    return sample_rate, WaveformInput(settings.get("do_normalize", kind.normalise), shortest), layout


def _convolutions(options: Any) -> tuple[list[int], list[int]]:
    """Kernels and strides of the convolutions over the waveform; those of Moonshine are not in its configuration."""
    if options.model_type == "moonshine":
        return [127, 7, 3], [64, 3, 2]
    return list(options.conv_kernel), list(options.conv_stride)


def _kaldi(options: Any) -> tuple[KaldiInput, TokenLayout]:
    """The filter bank of a model, and where its tokens lie; frames of 25 ms are centred 12.5 ms behind their start."""
    if options.model_type == "wav2vec2-bert":
        stacked = options.feature_projection_input_dim // _BANDS
        return KaldiInput(_BANDS, stacked, 1), TokenLayout(hop_seconds=0.01 * stacked, start_seconds=0.0075)
    hop = 0.01 * 2**options.num_conv_layers
    return KaldiInput(options.input_feat_per_channel), TokenLayout(hop_seconds=hop, start_seconds=0.0125 - hop / 2)
