"""AST: the Audio Spectrogram Transformer, a vision transformer on log-mel patches.

Gong, Chung, Glass, "AST: Audio Spectrogram Transformer" (Interspeech 2021), arXiv:2104.01778; run by transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import torch
import torch.nn.functional as F
from asd_plugins.transformers_audio import check_layers, last_layers, load_model, model_type, settled_config
from asd_plugins.transformers_models import check_type
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, Projections, TokenLayout, WeightsCard
from asd.encoders.frontends import KaldiFilterBank
from asd.encoders.weights_cache import find
from asd.errors import UserError

Tokens = Literal["all", "class"]

_MEAN, _STD = -4.2677393, 4.5689974
_SPECIAL_TOKENS = 2
_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "frequency_stride": 16,
    "time_stride": 16,
}


class AST(Encoder):
    """AST through transformers' `ASTModel`, 16 kHz, 128 mel bands every 10 ms.

    A clip is trimmed or padded to `frames`. Where that is not what the weights were trained with, their position
    embeddings are cut to the middle, or stretched, along time, as the authors do.

    Args:
        weights: Folder with ``config.json`` and the weights, or the name of weights that were fetched
            (``ast_audioset``); ``None``: random weights.
        frames: Mel frames the model sees, 100 a second; 1024 (10.24 s) in the published weights.
        tokens: ``all`` tokens, the class and the distillation token first; or these two alone (``class``), whose mean
            is the authors' embedding of a clip.
        layers: How many of the last layers to give, the deepest after the final normalisation.
        config: Values for `ASTConfig`, over those of the weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    projections = Projections(("q_proj", "k_proj", "v_proj"), ("o_proj", "fc2"))
    sample_rate = 16000
    cards: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "ast_audioset",
            "model.safetensors",
            "BSD-3-Clause",
            "arXiv:2104.01778",
            "https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593/resolve/main/model.safetensors",
            beside=("config.json", "preprocessor_config.json"),
        ),
    )
    listing = ("16000 Hz", "768", "86.19 M")

    def __init__(
        self,
        weights: str | None = None,
        frames: int = 1024,
        tokens: Tokens = "all",
        layers: int = 1,
        config: dict[str, Any] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if tokens not in get_args(Tokens):
            raise UserError(f"AST: tokens is {tokens!r}; give all or class")
        path = None if weights is None else str(find(weights))
        if path is not None:
            check_type("AST", path, model_type(path), "audio-spectrogram-transformer")
        given = {**(config or {}), **({"max_length": frames} if path is None else {})}
        self.model, settings, _ = load_model("ASTModel", path, given)
        options = self.model.config
        if frames < options.patch_size:
            raise UserError(f"AST: frames is {frames}, fewer than one patch; give at least {options.patch_size}")
        check_layers("AST", layers, options.num_hidden_layers)
        if frames != options.max_length:
            _fit_positions(self.model, frames)
        if weights is not None:
            self.settled = {"config": settled_config(options, settings)}
        self.frames = frames
        self.tokens = tokens
        self.layers = layers
        self.layout = _layout(self.model, tokens)
        self.feature_dim: int = options.hidden_size
        self.filter_bank = KaldiFilterBank(bands=options.num_mel_bins, window="hanning")
        self.mean: float = settings.get("mean", _MEAN)
        self.std: float = settings.get("std", _STD)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(frames=64, config=_TINY)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, 128)``, at most `frames` of the normalised Kaldi filter bank."""
        bank: Tensor = self.filter_bank(waveform)[:, : self.frames]
        return (bank - self.mean) / (2 * self.std)

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, L, F', D)`` with the class and the distillation token first."""
        silence = (0 - self.mean) / (2 * self.std)
        padded = F.pad(spectrogram, (0, 0, 0, self.frames - spectrogram.shape[1]), value=silence)
        features: Tensor = last_layers(self.model, padded, self.layers)
        return features[:, :, :_SPECIAL_TOKENS] if self.tokens == "class" else features

    def stages(self) -> list[nn.Module]:
        """Embeddings, then layer after layer; the final normalisation goes with the last."""
        layers = list(self.model.layers)
        return [self.model.embeddings, *layers[:-1], nn.ModuleList([layers[-1], self.model.layernorm])]


def _layout(model: Any, tokens: Tokens) -> TokenLayout:
    if tokens == "class":
        # Both are of the whole clip: one frame, in two versions.
        return TokenLayout(rows=_SPECIAL_TOKENS, bands=False)
    options = model.config
    rows, _ = model.embeddings.get_shape(options)
    overlap = options.patch_size - options.time_stride
    return TokenLayout(rows, "frequency", _SPECIAL_TOKENS, None, 0.01 * options.time_stride, 0.01 * overlap / 2)


def _fit_positions(model: Any, frames: int) -> None:
    embeddings = model.embeddings
    rows, columns = embeddings.get_shape(model.config)
    model.config.max_length = frames
    wanted = embeddings.get_shape(model.config)[1]
    with torch.no_grad():
        special, grid = embeddings.position_embeddings.split([_SPECIAL_TOKENS, rows * columns], dim=1)
        grid = grid.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
        if wanted <= columns:
            start = (columns - wanted) // 2
            grid = grid[..., start : start + wanted]
        else:
            grid = F.interpolate(grid, size=(rows, wanted), mode="bilinear")
        fitted = torch.cat([special, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
    embeddings.position_embeddings = nn.Parameter(fitted)
