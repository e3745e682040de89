"""Small configurations of every model of transformers that is an encoder here."""

from __future__ import annotations

from typing import Any

from asd_plugins.transformers_audio import _TINY

_SEQUENCES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 60,
}
WHISPER: dict[str, Any] = {
    **_SEQUENCES,
    "num_mel_bins": 16,
    "max_source_positions": 100,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
CLAP: dict[str, Any] = {
    "hidden_size": 64,
    "patch_embeds_hidden_size": 16,
    "depths": [1, 1, 1],
    "num_attention_heads": [2, 2, 2],
    "window_size": 8,
    "aff_block_r": 2,
    "projection_dim": 8,
}
SEW: dict[str, Any] = {**_TINY, "squeeze_factor": 2}
SEW_D: dict[str, Any] = {**SEW, "max_position_embeddings": 64, "position_buckets": 16, "feature_layer_norm_eps": 1e-5}
BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_depthwise_kernel_size": 3,
}
MOONSHINE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 2,
    "decoder_num_attention_heads": 2,
    "vocab_size": 60,
}
SPEECH_TO_TEXT: dict[str, Any] = {**_SEQUENCES, "conv_channels": 16}
WAV2VEC2 = (
    "Data2VecAudioModel",
    "HubertModel",
    "UniSpeechModel",
    "UniSpeechSatModel",
    "Wav2Vec2ConformerModel",
    "Wav2Vec2Model",
    "WavLMModel",
)
TINY = {
    **dict.fromkeys(WAV2VEC2, _TINY),
    "ClapAudioModel": CLAP,
    "MoonshineModel": MOONSHINE,
    "SEWDModel": SEW_D,
    "SEWModel": SEW,
    "Speech2TextModel": SPEECH_TO_TEXT,
    "Wav2Vec2BertModel": BERT,
    "WhisperModel": WHISPER,
}
