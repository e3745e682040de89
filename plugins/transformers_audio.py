"""Audio models of the transformers library, by class name and by folder or hub name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from asd_plugins.transformers_inputs import ClapInput, WaveformInput, WhisperInput
from safetensors import SafetensorError
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, Projections, TokenLayout
from asd.encoders.weights_file import format_of
from asd.errors import UserError

_WAVEFORM_MODELS = (
    "Data2VecAudioModel",
    "HubertModel",
    "UniSpeechSatModel",
    "Wav2Vec2ConformerModel",
    "Wav2Vec2Model",
    "WavLMModel",
)
_MODELS = ("ClapAudioModel", *_WAVEFORM_MODELS, "WhisperModel")
_USUAL = Projections(("q_proj", "k_proj", "v_proj"), ("out_proj", "output_dense"))
_PROJECTIONS = {
    "ClapAudioModel": Projections(("query", "key", "value"), ("output.dense",)),
    "Wav2Vec2ConformerModel": Projections(("linear_q", "linear_k", "linear_v"), ("linear_out", "output_dense")),
    "WhisperModel": Projections(_USUAL.attention, ("out_proj", "fc2")),
}
# What would leave parameters without a gradient, or drop out by a generator of its own.
_OFF = {
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "enable_fusion": False,
}
# Settings of a folder's preprocessor_config.json that are used.
_INPUTS = ("do_normalize", "mean", "std")
_TINY_CONVOLUTIONS = {"conv_dim": [16, 16, 16], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4]}
_TINY = {
    **_TINY_CONVOLUTIONS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


class TransformersAudio(Encoder):
    """wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech-SAT, Whisper's encoder or CLAP's audio model, from transformers.

    Models on waveforms have no spectrogram: `augment` is given ``(B, 1, T)`` there. Whisper takes the first 30 s of a
    clip, CLAP the first 10 s; CLAP's map is averaged over frequency and is the only layer it gives.

    Args:
        architecture: Class of transformers: Wav2Vec2Model, HubertModel, WavLMModel, Data2VecAudioModel,
            UniSpeechSatModel, Wav2Vec2ConformerModel, WhisperModel or ClapAudioModel.
        weights: Folder with ``config.json`` and the weights, or a hub name; ``None``: random weights.
        download: Fetch a hub name that is not in the cache of transformers; else that is an error.
        layers: How many of the last layers to give, the deepest after the model's last normalisation.
        config: Values for the model's configuration, over those of the weights.
        augment: Runs between `spectrogram` and `encode` in training; ``None``: nothing.
    """

    listing = ("of the model", "of the model", "of the model")

    def __init__(
        self,
        architecture: str = "WavLMModel",
        weights: str | None = None,
        download: bool = False,
        layers: int = 1,
        config: dict[str, Any] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if architecture not in _MODELS:
            near = difflib.get_close_matches(architecture, _MODELS, n=1, cutoff=0.5)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise UserError(
                f"TransformersAudio: unknown architecture {architecture!r}.{guess} Known: {', '.join(_MODELS)}"
            )
        self.model, settings, fusion = load_model(architecture, weights, config or {}, download)
        options = self.model.config
        if weights is not None:
            self.settled = {"config": settled_config(options, settings) | {"enable_fusion": fusion}}
        self.layers = layers
        self.projections = _PROJECTIONS.get(architecture, _USUAL)
        self.sample_rate = 16000
        self.inputs: nn.Module
        if architecture == "WhisperModel":
            self.model = self.model.encoder
            self.feature_dim, depth = options.d_model, options.encoder_layers
            self.inputs = WhisperInput(options.num_mel_bins, 2 * options.max_source_positions)
            self.layout = TokenLayout(hop_seconds=0.02, start_seconds=-0.01)
        elif architecture == "ClapAudioModel":
            self.sample_rate, self.seconds = 48000, 10.0
            self.feature_dim, depth = self.model.audio_encoder.num_features, 1
            self.inputs = ClapInput(options.num_mel_bins, slaney=not fusion, seconds=self.seconds)
        else:
            self.feature_dim, depth = options.hidden_size, options.num_hidden_layers
            self.inputs = WaveformInput(settings.get("do_normalize", True), _receptive_field(options))
            hop, overlap = prod(options.conv_stride), _receptive_field(options) - prod(options.conv_stride)
            self.layout = TokenLayout(hop_seconds=hop / self.sample_rate, start_seconds=overlap / 2 / self.sample_rate)
        check_layers(type(self).__name__, layers, depth)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(config=_TINY)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to log-mel ``(B, F, M)``, or ``(B, 1, T)`` for models on waveforms."""
        inputs: Tensor = self.inputs(waveform)
        return inputs

    def encode(self, spectrogram: Tensor) -> Tensor:
        """What `spectrogram` gives, to ``(B, L, F', D)``."""
        if isinstance(self.inputs, ClapInput):
            maps: Tensor = self.model(spectrogram[:, None]).last_hidden_state
            return maps.mean(2).mT[:, None]
        if isinstance(self.inputs, WhisperInput):
            tokens = self.inputs.tokens(spectrogram.shape[1])
            return last_layers(self.model, self.inputs.pad(spectrogram), self.layers)[:, :, :tokens]
        return last_layers(self.model, spectrogram[:, 0], self.layers)

    def stages(self) -> list[nn.Module]:
        """What comes before and around the layers, then the layers; CLAP's four stages count as layers."""
        return stages_of(self.model)


def load_model(
    architecture: str, weights: str | None, config: Mapping[str, Any], download: bool = False
) -> tuple[Any, dict[str, Any], bool]:
    """A model of transformers in float32, the settings of its inputs, and whether it was trained with feature fusion.

    Raises:
        UserError: No such folder or name, or weights that do not fit or are not all there.
    """
    # Imported here: the library is large, and listing the encoders shall not wait for it.
    import transformers

    cls = getattr(transformers, architecture)
    where = {"local_files_only": not download}
    if weights is None:
        options = cls.config_class(**config)
    else:
        _check_folder(weights)
        with _one_line(weights):
            options = cls.config_class.from_pretrained(weights, **where, **config)
    fusion = bool(getattr(options, "enable_fusion", False))
    for name, value in _OFF.items():
        if hasattr(options, name):
            setattr(options, name, value)
    if weights is None:
        model, settings = cls(options), {}
    else:
        with _one_line(weights), _quiet(transformers.utils.logging):
            model, found = cls.from_pretrained(
                weights,
                config=options,
                dtype=torch.float32,
                output_loading_info=True,
                key_mapping={r"^audio_model\.": ""},
                **where,
            )
        missing = sorted(found["missing_keys"])
        if missing:
            raise UserError(
                f"{weights}: no weights for {missing[0]} and {len(missing) - 1} more keys of {architecture}"
            )
        settings = _input_settings(transformers, weights, where)
    # Settings of the inputs may come with the configuration, where the folder is no longer at hand.
    settings |= {name: config[name] for name in _INPUTS if name in config}
    _remove_unused(model)
    return model, settings, fusion


def settled_config(options: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values from which the model of a folder, and the scale of its inputs, are built again without it."""
    return {**options.to_diff_dict(), **{name: settings[name] for name in _INPUTS if name in settings}}


def check_layers(name: str, layers: int, depth: int) -> None:
    """Refuse more layers than a model has."""
    if not 1 <= layers <= depth:
        raise UserError(f"{name}: layers is {layers}, but the model gives {depth}; set layers to 1 ... {depth}")


def last_layers(model: nn.Module, inputs: Tensor, layers: int) -> Tensor:
    """The output ``(B, L, F', D)`` of the last layers, the deepest as the model itself gives it."""
    found = model(inputs, output_hidden_states=layers > 1)
    shallower = found.hidden_states[-layers:-1] if layers > 1 else ()
    return torch.stack([*shallower, found.last_hidden_state], dim=1)


def stages_of(model: nn.Module) -> list[nn.Module]:
    """The parts of a transformer from shallow to deep: all that is not a layer, then layer after layer."""
    name, layers = next(
        (n, m) for n, m in model.named_modules() if n.endswith("layers") and isinstance(m, nn.ModuleList)
    )
    around: list[nn.Module] = []
    parent = model
    for part in name.split("."):
        around += [child for key, child in parent.named_children() if key != part]
        parent = getattr(parent, part)
    return [nn.ModuleList(around), *layers]


def _remove_unused(model: Any) -> None:
    """Take out parameters that are never used, which DDP would wait for, or never trained."""
    if getattr(model, "masked_spec_embed", None) is not None:
        model.masked_spec_embed = None
    kind = type(model).__name__
    if kind == "Wav2Vec2ConformerModel":
        model.encoder.pos_conv_embed = None
    if kind == "WhisperModel":
        # Sinusoids, which are not to be learned whatever is thawed.
        positions = model.encoder.embed_positions
        fixed = positions.weight.detach()
        del positions.weight
        positions.register_buffer("weight", fixed)


def _receptive_field(options: Any) -> int:
    strides: list[int] = [1, *options.conv_stride[:-1]]
    kernels: list[int] = list(options.conv_kernel)
    return 1 + sum((kernel - 1) * prod(strides[: i + 1]) for i, kernel in enumerate(kernels))


def _check_folder(weights: str) -> None:
    path = Path(weights)
    if path.is_file():
        raise UserError(f"weights {weights} is a file; give the folder that holds config.json and the weights")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"weights {weights}: no config.json in the folder; it must hold config.json and the weights")
    for file in sorted(path.glob("*.safetensors")) + sorted(path.glob("*.bin")):
        format_of(file)


def _input_settings(transformers: Any, weights: str, where: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any]
    try:
        settings, _ = transformers.FeatureExtractionMixin.get_feature_extractor_dict(weights, **where)
    except OSError:
        return {}
    return settings


@contextmanager
def _one_line(weights: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"weights {weights} cannot be loaded: give a folder with config.json and model.safetensors, or a hub "
            f"name with download true ({type(error).__name__}: {reason})"
        ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No progress bars and load reports: keys that are missing are an error, others are meant to be left out."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
