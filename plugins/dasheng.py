"""Dasheng, pre-trained as a masked autoencoder, and CED, distilled for audio tagging: one network, other patches.

Dinkel et al., "Scaling up masked audio encoder learning for general audio classification" (2024), arXiv:2406.06992;
Dinkel et al., "CED: Consistent ensemble distillation for audio tagging" (2023), arXiv:2308.11957.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.frontends import LogMel
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.transformer import PROJECTIONS, TransformerShape, check_layers, last_outputs, stack
from asd.encoders.weights_cache import find
from asd.errors import UserError

_BANDS = 64


class _MelTransformer(Encoder):
    """What Dasheng and CED share: batch-normalised mel bands, patches with learned positions, pre-norm transformer.

    Clips longer than the positions reach are encoded in chunks, each of which attends within itself.
    """

    projections = PROJECTIONS
    sample_rate = 16000
    patch: ClassVar[tuple[int, int]]
    positions: ClassVar[int]
    sizes: ClassVar[Mapping[str, TransformerShape]]

    def __init__(
        self,
        usual: str,
        size: str | None,
        layers: int,
        shape: TransformerShape | None,
        gradient_checkpointing: bool,
        weights: str | None,
        augment: Augmentation | None,
    ) -> None:
        super().__init__(augment)
        published = None if weights is None else self._read(weights)
        if shape is None and size is None and published is not None:
            shape = _shape_of(published, self.sizes)
        shape = shape or self.sizes[size or usual]
        check_layers(type(self).__name__, layers, shape.depth)
        self.layers = layers
        self.shape = shape
        self.feature_dim = shape.width
        self.gradient_checkpointing = gradient_checkpointing
        bands, frames = self.patch
        self.front_end = LogMel(bands=_BANDS)
        self.init_bn = nn.BatchNorm1d(_BANDS, momentum=0.01)
        self.time_pos_embed = nn.Parameter(nn.init.normal_(torch.empty(1, shape.width, 1, self.positions), std=0.02))
        self.freq_pos_embed = nn.Parameter(nn.init.normal_(torch.empty(1, shape.width, _BANDS // bands, 1), std=0.02))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, shape.width, self.patch, self.patch)})
        self.blocks = stack(shape)
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.frames = frames
        self.layout = TokenLayout(_BANDS // bands, "frequency", chunk_frames=self.positions, hop_seconds=0.01 * frames)
        if published is not None:
            self._adopt(published)

    def _read(self, path: str) -> Weights:
        name = type(self).__name__
        weights = weights_of(find(path), name, "time_pos_embed")
        weights = replace(weights, state=from_published(weights.state))
        if (patch := weights.dims("patch_embed.proj.weight")[2:]) != self.patch:
            raise UserError(f"{weights.path} has patches of {patch}, {name} of {self.patch}")
        return weights

    def _adopt(self, weights: Weights) -> None:
        width, depth = weights.dims("patch_embed.proj.weight")[0], weights.depth("blocks")
        if (width, depth) != (self.shape.width, self.shape.depth):
            fitting = [name for name, one in self.sizes.items() if (one.width, one.depth) == (width, depth)]
            remedy = f"set size to {fitting[0]}" if fitting else "set shape to its dimensions"
            raise UserError(
                f"{weights.path} has width {width} and depth {depth}, not {self.shape.width} and {self.shape.depth}; "
                f"{remedy}, or leave both out"
            )
        heads = weights.settings("config").get("num_heads", self.shape.heads)
        if heads != self.shape.heads:
            raise UserError(f"{weights.path} has {heads} heads, not {self.shape.heads}; set shape.heads to it")
        load_strict(self, weights.state, weights.path)
        self.settled = {"shape": asdict(self.shape)}

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, 64)`` in decibels, one frame every 10 ms."""
        mel: Tensor = self.front_end(waveform)
        return mel

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 64)`` to ``(B, L, F', D)``: one token a patch, rows of patches one after the other in a chunk."""
        if spectrogram.shape[1] < self.frames:
            raise UserError(
                f"{type(self).__name__}: clips of {spectrogram.shape[1]} frames; it needs at least {self.frames}, "
                f"{10 * (self.frames - 1)} ms"
            )
        patches = self.patch_embed["proj"](self.init_bn(spectrogram.mT)[:, None])
        whole = patches.shape[3] // self.positions * self.positions
        chunks = [self._encode_chunks(patches[..., :whole])] if whole else []
        if whole < patches.shape[3]:
            chunks.append(self._encode_chunks(patches[..., whole:]))
        return torch.cat(chunks, dim=2)

    def _encode_chunks(self, patches: Tensor) -> Tensor:
        """``(B, D, R, F')`` to ``(B, L, R F', D)``, in chunks as long as the positions reach."""
        clips, _, _, frames = patches.shape
        length = min(frames, self.positions)
        patches = patches.unflatten(3, (-1, length)).movedim(3, 1).flatten(0, 1)
        patches = patches + self.time_pos_embed[..., :length] + self.freq_pos_embed
        kept = last_outputs(self.blocks, patches.flatten(2).mT, self.layers, self.gradient_checkpointing)
        # The last normalisation belongs to the deepest layer; layers before it are taken through it as well, so that
        # all are of one scale.
        features = self.norm(kept)
        chunks: Tensor = features.unflatten(0, (clips, -1)).transpose(1, 2)
        return chunks.flatten(2, 3)

    def stages(self) -> list[nn.Module]:
        """Patch embedding with positions, then layer after layer; the last normalisation goes with the last."""
        positions = nn.ParameterList([self.time_pos_embed, self.freq_pos_embed])
        first = nn.ModuleList([self.init_bn, positions, self.patch_embed])
        return [first, *self.blocks[:-1], nn.ModuleList([self.blocks[-1], self.norm])]


def _shape_of(weights: Weights, published: Mapping[str, TransformerShape]) -> TransformerShape:
    """The dimensions of a file; heads are in its ``config``, or known of published sizes.

    Raises:
        UserError: A tensor that tells them is not there, or nothing tells the heads.
    """
    width, depth = weights.dims("patch_embed.proj.weight")[0], weights.depth("blocks")
    weights.check_holds(12 * depth * width**2)
    known = {(one.width, one.depth): one.heads for one in published.values()}
    heads = weights.settings("config").get("num_heads", known.get((width, depth)))
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise UserError(
            f"{weights.path} has width {width} and depth {depth}, which is no published size, and its config tells "
            "no number of heads that fits; set shape"
        )
    return TransformerShape(width, depth, heads)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under this module's names: without hub prefix, fixed front end and classifier."""
    renamed = {}
    for key, value in state.items():
        key = key.removeprefix("encoder.")
        if key.startswith(("front_end.", "outputlayer.")):
            continue
        renamed[key.replace("init_bn.1.", "init_bn.")] = value
    return renamed


class Dasheng(_MelTransformer):
    """Dasheng at 16 kHz: base with 86 M parameters, 0.6B, 1.2B. One token every 40 ms, chunks of 10.08 s.

    Args:
        size: Published size; ``None``: that of the weights, or base.
        layers: The last so many layers are returned, each through the last normalisation.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file in the authors' or the hub's layout, or the name of one that was fetched;
            ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    patch = (64, 4)
    positions = 252
    sizes: ClassVar[Mapping[str, TransformerShape]] = {
        "base": TransformerShape(768, 12, 12),
        "0.6B": TransformerShape(1280, 32, 16),
        "1.2B": TransformerShape(1536, 40, 24),
    }
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(
            f"dasheng_{name}",
            f"dasheng_{name}.pt",
            "Apache-2.0",
            "arXiv:2406.06992",
            f"https://zenodo.org/records/11511780/files/dasheng_{name}.pt",
        )
        for name in ("base", "06b", "12b")
    )

    def __init__(
        self,
        size: Literal["base", "0.6B", "1.2B"] | None = None,
        layers: int = 1,
        shape: TransformerShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__("base", size, layers, shape, gradient_checkpointing, weights, augment)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=TransformerShape(16, 2, 2))


class CED(_MelTransformer):
    """CED at 16 kHz, 5 M to 86 M parameters. A patch is 160 ms by 16 of 64 bands, chunks are 10.08 s.

    Args:
        size: Published size; ``None``: that of the weights, or tiny.
        layers: The last so many layers are returned, each through the last normalisation.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file in the authors' or the hub's layout, or the name of one that was fetched;
            ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    patch = (16, 16)
    positions = 63
    sizes: ClassVar[Mapping[str, TransformerShape]] = {
        "tiny": TransformerShape(192, 12, 3),
        "mini": TransformerShape(256, 12, 4),
        "small": TransformerShape(384, 12, 6),
        "base": TransformerShape(768, 12, 12),
    }
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(62.15, "frozen", "2025 development", "ced_tiny, local density; Saengthong's report"),
    )
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(
            f"ced_{name}",
            f"ced_{name}.safetensors",
            "Apache-2.0",
            "arXiv:2308.11957",
            f"https://huggingface.co/mispeech/ced-{name}/resolve/main/model.safetensors",
        )
        for name in ("tiny", "mini", "small", "base")
    )

    def __init__(
        self,
        size: Literal["tiny", "mini", "small", "base"] | None = None,
        layers: int = 1,
        shape: TransformerShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__("tiny", size, layers, shape, gradient_checkpointing, weights, augment)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=TransformerShape(16, 2, 2))
