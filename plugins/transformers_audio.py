"""Audio models of the transformers library, by class name and by folder or hub name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from asd_plugins.transformers_attention import call_projections
from asd_plugins.transformers_inputs import (
    SETTINGS,
    ClapInput,
    KaldiInput,
    WhisperInput,
    check_settings,
    input_settings,
)
from asd_plugins.transformers_models import ARCHITECTURES, chosen, hearing
from safetensors import SafetensorError
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder
from asd.encoders.pretrained import check_finite, check_keys
from asd.encoders.weights_file import format_of
from asd.errors import UserError

# What would leave parameters without a gradient, or drop out by a generator of its own.
_OFF = {
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "enable_fusion": False,
    # It would take most of the frames away.
    "add_adapter": False,
}
# What a file may have more than the model that is made of it: parts that are off.
_LEFT_OUT = (".mel_conv2d.", ".fusion_model.")
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
    """wav2vec 2.0, HuBERT, WavLM, Whisper's encoder, CLAP's audio model and others, from transformers.

    Models on waveforms have no spectrogram: `augment` is given ``(B, 1, T)`` there. Whisper takes the first 30 s of a
    clip, CLAP the first 10 s; CLAP's map is averaged over frequency. CLAP, SEW and SEW-D give one layer alone. A model
    that is refused is refused with the reason.

    Whisper, CLAP, Speech2Text and wav2vec 2.0-BERT have the front end that they were published with, whatever
    ``preprocessor_config.json`` says, and need none.

    Args:
        architecture: Class of transformers: Wav2Vec2Model, HubertModel, WavLMModel, Data2VecAudioModel,
            UniSpeechModel, UniSpeechSatModel, SEWModel, SEWDModel, Wav2Vec2ConformerModel, Wav2Vec2BertModel,
            MoonshineModel, Speech2TextModel, WhisperModel or ClapAudioModel; ``None``: that of the weights, or
            WavLMModel.
        weights: Folder with ``config.json``, ``preprocessor_config.json`` and the weights, or a hub name; ``None``:
            random weights.
        download: Fetch a hub name that is not in the cache of transformers; else that is an error.
        layers: How many of the last layers to give, the deepest after the model's last normalisation.
        config: Values for the model's configuration, over those of the weights, and of ``do_normalize`` where there is
            no ``preprocessor_config.json``.
        augment: Runs between `spectrogram` and `encode` in training; ``None``: nothing.
    """

    listing = ("of the model", "of the model", "of the model")

    def __init__(
        self,
        architecture: str | None = None,
        weights: str | None = None,
        download: bool = False,
        layers: int = 1,
        config: dict[str, Any] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        architecture = chosen(architecture, weights, None if weights is None else model_type(weights, download))
        kind = ARCHITECTURES[architecture]
        self.model, settings, fusion = load_model(architecture, weights, config or {}, download)
        options = self.model.config
        if weights is not None:
            if kind.inputs == "waveform" and "do_normalize" not in settings:
                raise UserError(
                    f"weights {weights}: no preprocessor_config.json, which says whether clips are normalised; put "
                    "that of the model beside, or set config do_normalize to true or false"
                )
            kept = settled_config(options, settings) | {"enable_fusion": fusion}
            self.settled = {"architecture": architecture, "config": kept}
        self.model = getattr(self.model, kind.encodes) if kind.encodes else self.model
        self.layers = layers
        self.projections = kind.projections
        self.expected_failures = dict(kind.expected_failures)  # type: ignore[misc]
        self.sample_rate, self.inputs, self.layout = hearing(kind, options, settings, fusion)
        if isinstance(self.inputs, ClapInput):
            self.seconds, self.feature_dim = self.inputs.seconds, self.model.audio_encoder.num_features
        else:
            self.feature_dim = options.hidden_size
        check_layers(type(self).__name__, layers, len(self.stages()) - 1 if kind.layers else 1)

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
        if isinstance(self.inputs, KaldiInput):
            return last_layers(self.model, self.inputs.stacked(spectrogram), self.layers)
        return last_layers(self.model, spectrogram[:, 0], self.layers)

    def stages(self) -> list[nn.Module]:
        """What comes before and around the layers, then the layers; CLAP's four stages count as layers."""
        return stages_of(self.model)


def load_model(
    architecture: str, weights: str | None, config: Mapping[str, Any], download: bool = False
) -> tuple[Any, dict[str, Any], bool]:
    """A model of transformers in float32, the settings of its inputs, and whether it was trained with feature fusion.

    Raises:
        UserError: No such folder or name, or weights or settings that do not fit, are not all there or are broken.
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
                ignore_mismatched_sizes=True,  # refused below, by their names
                key_mapping={r"^audio_model\.": ""},
                **where,
            )
        # Other keys are of what such a model is a part of, such as a classifier.
        parts = {name for name, _ in model.named_children()}
        spare = {key.removeprefix(f"{model.base_model_prefix}.") for key in found["unexpected_keys"]}
        spare = {key for key in spare if key.split(".")[0] in parts and not any(part in key for part in _LEFT_OUT)}
        check_keys(weights, found["missing_keys"], spare, found["mismatched_keys"])
        check_finite(weights, model.state_dict())
        settings = input_settings(weights, where)
    # Settings of the inputs may come with the configuration, where the folder is no longer at hand.
    settings |= {name: config[name] for name in SETTINGS if name in config}
    check_settings(settings, weights)
    _remove_unused(model)
    return model, settings, fusion


def settled_config(options: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values from which the model of a folder, and the scale of its inputs, are built again without it."""
    return {**options.to_diff_dict(), **{name: settings[name] for name in SETTINGS if name in settings}}


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
        (name, module)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in ("layers", "layer") and _attends(module)
    )
    around: list[nn.Module] = []
    parent = model
    for part in name.split("."):
        around += [child for key, child in parent.named_children() if key != part]
        parent = getattr(parent, part)
    return [nn.ModuleList(around), *layers]


def _attends(module: nn.Module) -> bool:
    """Whether these are the layers of a transformer, not of the convolutions before them."""
    return isinstance(module, nn.ModuleList) and any(isinstance(one, nn.Linear) for one in module[0].modules())


def _remove_unused(model: Any) -> None:
    """Take out parameters that are never used, which DDP would wait for, or never trained."""
    if getattr(model, "masked_spec_embed", None) is not None:
        model.masked_spec_embed = None
    for module in model.modules():
        # Those on waveforms would have gradients of what they hear, which nobody needs and no compiler takes.
        if hasattr(module, "_requires_grad"):
            module._requires_grad = False
    kind = type(model).__name__
    if kind == "Wav2Vec2ConformerModel":
        model.encoder.pos_conv_embed = None
    if kind == "WavLMModel":
        call_projections(model)
    if kind == "WhisperModel":
        # Sinusoids, which are not to be learned whatever is thawed.
        positions = model.encoder.embed_positions
        fixed = positions.weight.detach()
        del positions.weight
        positions.register_buffer("weight", fixed)


def model_type(weights: str, download: bool = False) -> str | None:
    """What the ``config.json`` of a folder or hub name says the model is.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    import transformers

    _check_folder(weights)
    with _one_line(weights):
        told, _ = transformers.PretrainedConfig.get_config_dict(weights, local_files_only=not download)
    found = told.get("model_type")
    return found if isinstance(found, str) else None


def _check_folder(weights: str) -> None:
    path = Path(weights)
    if path.is_file():
        raise UserError(f"weights {weights} is a file; give the folder that holds config.json and the weights")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"weights {weights}: no config.json in the folder; it must hold config.json and the weights")
    for file in sorted(path.glob("*.safetensors")) + sorted(path.glob("*.bin")):
        format_of(file)


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
    """No progress bars and load reports: what of the keys is an error is decided here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
