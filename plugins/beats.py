"""BEATs: a transformer over spectrogram patches, pre-trained on AudioSet with an acoustic tokeniser.

Chen et al., "BEATs: Audio pre-training with acoustic tokenizers" (2022), arXiv:2212.09058.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import torch
from asd_plugins.beats_layers import BEATsLayer, BEATsShape, PositionConvolution
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from asd.encoders import Augmentation, Encoder, KnownScore, Projections, TokenLayout, WeightsCard
from asd.encoders.frontends import KaldiFilterBank
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.weights_cache import find
from asd.errors import UserError

_MEAN, _STD = 15.41663, 6.55582
_PATCH = 16
_BANDS = 128
_BIAS_KEY = "self_attn.relative_attention_bias.weight"
_PAPER = "arXiv:2212.09058"
_PAGE = "https://github.com/microsoft/unilm/tree/master/beats"


# Names of the same dimensions in a file's `cfg`.
_CFG = {
    "depth": "encoder_layers",
    "width": "encoder_embed_dim",
    "hidden": "encoder_ffn_embed_dim",
    "heads": "encoder_attention_heads",
    "patch_width": "embed_dim",
    "position_kernel": "conv_pos",
    "position_groups": "conv_pos_groups",
    "buckets": "num_buckets",
    "max_distance": "max_distance",
}
# What this class computes; a file that says otherwise is of another network.
_FIXED: dict[str, Any] = {
    "input_patch_size": _PATCH,
    "conv_bias": False,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}


class BEATs(Encoder):
    """BEATs at 16 kHz, 90 M parameters. A patch is 160 ms by 16 of 128 bands, so 10 s are 62 x 8 = 496 tokens.

    The tokens are the frames: time first, within it the eight rows of patches. Masked training's layer drop is not
    carried over, since a layer that is left out on one process alone stalls the others.

    Args:
        layers: The last so many layers are returned.
        shape: Dimensions, and a file of others is refused; ``None``: those of the file, or the published ones.
        dropout: Part of the attention weights and of each residual branch that is dropped in training.
        gradient_decay: Factor on the gradient at each layer on its way down; the authors' fine-tuning has 0.6.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: An authors' file, pre-trained or fine-tuned, or the name of one that was fetched; ``None``: random
            weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    projections = Projections(("q_proj", "k_proj", "v_proj"), ("out_proj", "fc2"))
    sample_rate = 16000
    layout = TokenLayout(rows=_BANDS // _PATCH, hop_seconds=0.01 * _PATCH)
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(
            55.83,
            "frozen",
            "2025 evaluation",
            "nearest neighbour, features averaged; polestvr/daco-experiments",
        ),
    )
    cards: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "beats_iter3_plus_as2m",
            "BEATs_iter3_plus_AS2M.pt",
            "MIT",
            _PAPER,
            "https://huggingface.co/lpepino/beats_ckpts/resolve/main/BEATs_iter3_plus_AS2M.pt",
            size=361499833,
            sha256="d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
        ),
        # The authors share these by links of a file host that cannot be fetched by a program.
        WeightsCard("beats_iter3_as2m", "BEATs_iter3_AS2M.pt", "MIT", _PAPER, page=_PAGE),
        WeightsCard(
            "beats_iter3_plus_as2m_finetuned",
            "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt",
            "MIT",
            _PAPER,
            page=_PAGE,
        ),
    )

    def __init__(
        self,
        layers: int = 1,
        shape: BEATsShape | None = None,
        dropout: float = 0.0,
        gradient_decay: float = 1.0,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        published = None if weights is None else _read(weights)
        if shape is None:
            shape = BEATsShape() if published is None else BEATsShape.of(published)
        if not 1 <= layers <= shape.depth:
            raise UserError(f"BEATs: layers is {layers}, but there are {shape.depth}; give 1 to {shape.depth}")
        if not 0 < gradient_decay <= 1:
            raise UserError(f"BEATs: gradient_decay is {gradient_decay}; give a factor in (0, 1]")
        self.layers = layers
        self.feature_dim = shape.width
        self.shape = shape
        self.gradient_decay = gradient_decay
        self.gradient_checkpointing = gradient_checkpointing
        self.filter_bank = KaldiFilterBank(_BANDS, "povey")
        self.patch_embedding = nn.Conv2d(1, shape.patch_width, _PATCH, _PATCH, bias=False)
        self.layer_norm = nn.LayerNorm(shape.patch_width)
        self.post_extract_proj = nn.Linear(shape.patch_width, shape.width)
        self.position = PositionConvolution(shape)
        self.position_norm = nn.LayerNorm(shape.width)
        self.relative_bias = nn.Embedding(shape.buckets, shape.heads)
        self.blocks = nn.ModuleList(BEATsLayer(shape, dropout) for _ in range(shape.depth))
        self._initialise()
        if published is not None:
            self._adopt(published)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=BEATsShape(2, 16, 32, 2, 8, 8, 2))

    def _initialise(self) -> None:
        gain = (8 * self.shape.depth) ** -0.25
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)
        for block in self.blocks:
            assert isinstance(block, BEATsLayer)
            attention = block.self_attn
            for linear in (attention.q_proj, attention.k_proj):
                nn.init.xavier_normal_(linear.weight)
            for linear in (attention.v_proj, attention.out_proj, block.fc1, block.fc2):
                nn.init.xavier_normal_(linear.weight, gain)

    def _adopt(self, weights: Weights) -> None:
        path, cfg, found = weights.path, weights.settings("cfg"), asdict(BEATsShape.of(weights))
        for name, ours in asdict(self.shape).items():
            if found[name] != ours:
                raise UserError(
                    f"{path} is of another size: {_CFG[name]} is {found[name]}; set shape.{name} to it (it is {ours}), "
                    "or leave shape out"
                )
        for name, ours in _FIXED.items():
            if cfg.get(name, ours) != ours:
                raise UserError(f"{path} is of another network: {name} is {cfg[name]}, only {ours} is supported")
        load_strict(self, {key: v for key, v in weights.state.items() if not key.startswith("predictor.")}, path)
        self.settled = {"shape": found}

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, 128)``, the normalised Kaldi filter bank."""
        bank: Tensor = self.filter_bank(waveform * 2**15)
        return (bank - _MEAN) / (2 * _STD)

    def encode(self, spectrogram: Tensor, padding: Tensor | None = None) -> Tensor:
        """``(B, F, 128)`` to ``(B, L, F // 16 * 8, D)``.

        Args:
            spectrogram: From `spectrogram`.
            padding: ``(B, F)``, true where a frame is padding that no token is to attend to.
        """
        if spectrogram.shape[1] < _PATCH:
            raise UserError(f"BEATs: clips of {spectrogram.shape[1]} frames; it needs at least {_PATCH}, 175 ms")
        patches = self.patch_embedding(spectrogram[:, None]).flatten(2)
        # (B, C, T', 8) flattened: time first, the rows of patches within it.
        tokens = self.post_extract_proj(self.layer_norm(patches.mT))
        if padding is not None:
            count = tokens.shape[1]
            padding = padding[:, : padding.shape[1] // count * count].unflatten(1, (count, -1)).all(2)
            tokens = tokens.masked_fill(padding[:, :, None], 0)
        tokens = self.position_norm(tokens + self.position(tokens))
        bias = self._position_bias(tokens.shape[1])
        kept = []
        for number, block in enumerate(self.blocks):
            if self.gradient_decay < 1:
                tokens = self.gradient_decay * tokens + (1 - self.gradient_decay) * tokens.detach()
            if self.gradient_checkpointing and block.training and torch.is_grad_enabled():
                tokens = recompute(block, tokens, bias, padding, use_reentrant=False)
            else:
                tokens = block(tokens, bias, padding)
            if number >= len(self.blocks) - self.layers:
                kept.append(tokens)
        return torch.stack(kept, dim=1)

    def _position_bias(self, count: int) -> Tensor:
        """``(H, N, N)``: what each head adds for the distance between two tokens. One table row serves a diagonal."""
        half = self.shape.buckets // 2
        exact = half // 2
        offset = torch.arange(1 - count, count, device=self.relative_bias.weight.device)
        distance = offset.abs()
        ratio = (distance.clamp_min(1) / exact).log() / math.log(self.shape.max_distance / exact)
        far = (exact + ratio * (half - exact)).long().clamp_max(half - 1)
        bucket = torch.where(distance < exact, distance, far) + half * (offset > 0)
        rows: Tensor = self.relative_bias(bucket).float()
        return rows.mT.unfold(1, count, 1).flip(1)

    def stages(self) -> list[nn.Module]:
        """Patch embedding with everything about positions, then layer after layer."""
        first = [self.patch_embedding, self.layer_norm, self.post_extract_proj]
        first += [self.position, self.position_norm, self.relative_bias]
        return [nn.ModuleList(first), *self.blocks]


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state dict under this module's names.

    The table of relative positions is one tensor that their file repeats for every layer.
    """
    renamed = {}
    for key, value in state.items():
        if key.endswith(_BIAS_KEY):
            if ".0." in key:
                renamed["relative_bias.weight"] = value
            continue
        for theirs, ours in (
            # Newer releases of PyTorch name the two parts of a normalised weight otherwise.
            ("encoder.pos_conv.0.parametrizations.weight.original0", "position.weight_g"),
            ("encoder.pos_conv.0.parametrizations.weight.original1", "position.weight_v"),
            ("encoder.pos_conv.0.", "position."),
            ("encoder.layer_norm.", "position_norm."),
            ("encoder.layers.", "blocks."),
        ):
            if key.startswith(theirs):
                key = ours + key.removeprefix(theirs)
                break
        renamed[key] = value
    return renamed


def _read(path: str) -> Weights:
    weights = weights_of(find(path), "BEATs", "patch_embedding.weight")
    return replace(weights, state=from_authors(weights.state))


def audioset_predictor(weights: str) -> nn.Linear:
    """The last layer of a fine-tuned file: tokens ``(B, N, D)`` to logits; a clip's are the mean over its tokens.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `BEATs`.
    """
    published = _read(weights)
    state = {key: value for key, value in published.state.items() if key.startswith("predictor.")}
    if "predictor.weight" not in state:
        raise UserError(f"{published.path}: no key predictor.weight; only fine-tuned files have a predictor")
    classes, width = state["predictor.weight"].shape
    predictor = nn.Linear(width, classes)
    load_strict(nn.ModuleDict({"predictor": predictor}), state, published.path)
    return predictor
