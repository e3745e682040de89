"""ATST-Frame: a transformer over mel frames, pre-trained on AudioSet by a teacher that sees what the student does not.

Li et al., "Self-supervised audio teacher-student transformer for both clip-level and frame-level tasks" (2024),
arXiv:2306.04186.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, TokenLayout, WeightsCard
from asd.encoders.frontends import LogMel
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.transformer import PROJECTIONS, TransformerShape, check_layers, decided, last_outputs, shape_of, stack
from asd.encoders.weights_cache import find
from asd.errors import UserError

_BANDS = 64
_PATCH = 4
_LOWEST, _HIGHEST = -79.6482, 50.6842
_EMBEDDING = "patch_embed.patch_embed.weight"
_TEACHER = "teacher.encoder."
# Far below every logit, and yet finite: a chunk of nothing but padding has no NaN.
_MASKED = -1e4


@dataclass(frozen=True)
class ATSTShape(TransformerShape):
    """Dimensions of the network.

    Attributes:
        width: Feature width.
        depth: Number of layers.
        heads: Attention heads.
        positions: Tokens of 40 ms in a chunk.
    """

    positions: int = 250


class ATSTFrame(Encoder):
    """ATST-Frame at 16 kHz: small with 21 M parameters, base. One token every 40 ms, of all frequencies.

    Clips are encoded in chunks of 1001 frames (10 s), each of which attends within itself; the last frame of a full
    chunk belongs to no token. A last chunk of fewer frames than a token has is left out; the authors' code takes it for
    a vector of zeros, by which a clip's embedding is halved.

    Args:
        size: Published size; ``None``: that of the weights, or small.
        layers: The last so many layers are returned, each through the last normalisation; the authors' embedding is
            all of them side by side.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file, of which the teacher is taken, or a fine-tuned one, or the name of one that was
            fetched; ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    projections = PROJECTIONS
    sample_rate = 16000
    # A token's four frames are centred 15 ms behind the first, and so is its 40 ms.
    layout = TokenLayout(hop_seconds=0.01 * _PATCH, start_seconds=-0.005)
    sizes: ClassVar[Mapping[str, ATSTShape]] = {"small": ATSTShape(384, 12, 6), "base": ATSTShape(768, 12, 12)}
    # The authors share these by links of a file host that cannot be fetched by a program.
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(
            f"atstframe_{size}",
            f"atstframe_{size}.ckpt",
            "CC-BY-4.0",
            "arXiv:2306.04186",
            sha256=sha256,
            page=f"https://drive.google.com/file/d/{place}",
        )
        for size, place, sha256 in (
            (
                "small",
                "1xZoOTuxV415icYONYbeFQzgrmJQf4a4B",
                "1d85b290632dd26b8725f0ae73f53f990a898888cfc2c4794c3055a8130ff5f1",
            ),
            (
                "base",
                "1bGJSZWlAIIJ6GL5Id5dW0PTB72DL-QDQ",
                "9f812544983add849f45ef03c4ce10184729adee082c0bdd347764f4835bb3da",
            ),
        )
    )

    def __init__(
        self,
        size: Literal["small", "base"] | None = None,
        layers: int = 1,
        shape: ATSTShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        published = None if weights is None else _read(weights)
        file = None if published is None else (published, _shape_of(published))
        shape = decided("ATSTFrame", self.sizes, size, shape, file)
        check_layers("ATSTFrame", layers, shape.depth)
        self.shape = shape
        self.layers = layers
        self.feature_dim = shape.width
        self.gradient_checkpointing = gradient_checkpointing
        self.front_end = LogMel(bands=_BANDS, size=1024, high_hz=7800.0, top_db=80.0, low_hz=60.0)
        self.patch_embed = nn.ModuleDict({"patch_embed": nn.Linear(_BANDS * _PATCH, shape.width)})
        # The first place is never used: it is that of a class token in another network of the authors.
        self.pos_embed = nn.Parameter(nn.init.normal_(torch.empty(1, 1 + shape.positions, shape.width), std=0.02))
        self.blocks = stack(shape, qkv_bias=False)
        self.norm_frame = nn.LayerNorm(shape.width, eps=1e-6)
        if published is not None:
            load_strict(self, published.state, published.path)
            self.settled = {"shape": asdict(shape)}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=ATSTShape(16, 2, 2))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 16 kHz to ``(B, F, 64)`` decibels, scaled; those of each clip end 80 below its maximum."""
        mel: Tensor = self.front_end(waveform)
        return (mel - _LOWEST) / (_HIGHEST - _LOWEST) * 2 - 1

    def encode(self, spectrogram: Tensor, padding: Tensor | None = None) -> Tensor:
        """``(B, F, 64)`` to ``(B, L, F', D)``, a token for every four frames of a chunk.

        Args:
            spectrogram: From `spectrogram`.
            padding: ``(B, F)``, true where a frame is padding that no token is to attend to.
        """
        clips, frames = spectrogram.shape[:2]
        if frames < _PATCH:
            raise UserError(f"ATSTFrame: clips of {frames} frames; it needs at least {_PATCH}, {10 * (_PATCH - 1)} ms")
        hidden = None if padding is None else self._chunks(padding[:, :, None])
        encoded = []
        for number, chunk in enumerate(self._chunks(spectrogram)):
            # A patch is flattened band by band.
            tokens = self.patch_embed["patch_embed"](chunk.mT.flatten(2))
            tokens = tokens + self.pos_embed[:, 1 : tokens.shape[1] + 1]
            mask = None if hidden is None else _MASKED * hidden[number].any(2).mT[:, None].float()
            features = last_outputs(self.blocks, tokens, self.layers, self.gradient_checkpointing, mask)
            encoded.append(self.norm_frame(features).unflatten(0, (clips, -1)).transpose(1, 2).flatten(2, 3))
        return torch.cat(encoded, dim=2)

    def _chunks(self, frames: Tensor) -> list[Tensor]:
        """``(B, F, M)`` to the full chunks and the last one, each ``(B * chunks, T', 4, M)``."""
        tokens = self.shape.positions
        length = _PATCH * tokens + 1
        count, rest = divmod(frames.shape[1], length)
        chunks = []
        if count:
            full = frames[:, : count * length].unflatten(1, (count, length))[:, :, :-1]
            chunks.append(full.flatten(0, 1).unflatten(1, (tokens, _PATCH)))
        if rest >= _PATCH:
            last = frames[:, count * length :][:, : rest // _PATCH * _PATCH]
            chunks.append(last.unflatten(1, (-1, _PATCH)))
        return chunks

    def stages(self) -> list[nn.Module]:
        """Patch embedding with positions, then layer after layer; the last normalisation goes with the last."""
        first = nn.ModuleList([self.patch_embed, nn.ParameterList([self.pos_embed])])
        return [first, *self.blocks[:-1], nn.ModuleList([self.blocks[-1], self.norm_frame])]


def _read(name_or_path: str) -> Weights:
    weights = weights_of(find(name_or_path), "ATST-Frame", _TEACHER + _EMBEDDING, _EMBEDDING)
    teacher = {key.removeprefix(_TEACHER): v for key, v in weights.state.items() if key.startswith(_TEACHER)}
    state = teacher or weights.state
    # It stands for masked frames in pre-training alone.
    return replace(weights, state={key: value for key, value in state.items() if key != "mask_embed"})


def _shape_of(weights: Weights) -> ATSTShape:
    return ATSTShape(*shape_of(weights, _EMBEDDING, dims=2).size, weights.dims("pos_embed", 3)[1] - 1)
