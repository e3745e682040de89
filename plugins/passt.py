"""PaSST: a transformer over overlapping spectrogram patches, trained on AudioSet with most patches left out.

Koutini et al., "Efficient training of audio transformers with patchout" (2022), arXiv:2110.05069.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

import torch
import torch.nn.functional as F
from asd_plugins.mobilenet_layers import BANDS, MobileNetMel
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, TokenLayout, WeightsCard
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.transformer import PROJECTIONS, TransformerShape, check_layers, decided, last_outputs, shape_of, stack
from asd.encoders.weights_cache import find
from asd.errors import UserError

Tokens = Literal["all", "class"]

_PATCH = 16
_SPECIAL_TOKENS = 2
_STRIDES = (10, 12, 14, 16)
# Frames that the published networks were trained on, by the samples between them.
_FRAMES = {320: 998, 160: 2000, 100: 3200}
_LONGER = (2000, 3000)
_RELEASES = "https://github.com/kkoutini/PaSST/releases/download"
_PAPER = "arXiv:2110.05069"


@dataclass(frozen=True)
class PaSSTShape(TransformerShape):
    """Dimensions of the network.

    Attributes:
        width: Feature width.
        depth: Number of layers.
        heads: Attention heads.
        stride: Bands, and frames, from one patch of 16 by 16 to the next.
        hop: Samples between frames.
        positions: Patches in time that there are positions for.
    """

    stride: int = 10
    hop: int = 320
    positions: int = 99


class PaSST(Encoder):
    """PaSST at 32 kHz, 86 M parameters; patches overlap unless the stride is 16, which is several times faster.

    Positions reach over 10 s, in some weights over 20 or 30 s. Longer clips are encoded in chunks of that length, each
    of which attends within itself, and the special tokens are those of the chunks on average. Class tokens alone are
    instead the average of the authors' windows, four to each length, over the clip mirrored at its ends.

    Args:
        size: Published size, s or l, which has fewer layers; ``None``: that of the weights, or s.
        stride: Frames and bands from one patch to the next: 10, 12, 14 or 16; ``None``: that of the weights, or 10.
        hop: Samples between frames: 320, 160 or 100; ``None``: that of the weights, or 320.
        tokens: ``all`` tokens, the class and the distillation token first; or these two alone (``class``), whose mean
            is the authors' embedding of a clip.
        layers: The last so many layers are returned, each through the last normalisation.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file, or the name of one that was fetched; ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    cls_token: Tensor
    dist_token: Tensor
    new_pos_embed: Tensor
    freq_new_pos_embed: Tensor
    time_new_pos_embed: Tensor
    projections = PROJECTIONS
    sample_rate = 32000
    sizes: ClassVar[Mapping[str, PaSSTShape]] = {"s": PaSSTShape(768, 12, 12), "l": PaSSTShape(768, 7, 12)}
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(f"passt_{name}", file, "Apache-2.0", _PAPER, f"{_RELEASES}/{tag}/{file}", sha256=sha256)
        for name, tag, file, sha256 in (
            (
                "s_s10",
                "v0.0.1-audioset",
                "passt-s-f128-p16-s10-ap.476-swa.pt",
                "302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
            ),
            ("s_s12", "v0.0.2-audioset", "passt-s-f128-p16-s12-ap.473-swa.pt", None),
            ("s_s14", "v0.0.2-audioset", "passt-s-f128-p16-s14-ap.471-swa.pt", None),
            ("s_s16", "v0.0.2-audioset", "passt-s-f128-p16-s16-ap.473-swa.pt", None),
            ("s_s12_plain", "v0.0.2-audioset", "passt-s-f128-p16-s12-ap.470.pt", None),
            ("s_s14_plain", "v0.0.2-audioset", "passt-s-f128-p16-s14-ap.469.pt", None),
            ("s_s16_plain", "v0.0.2-audioset", "passt-s-f128-p16-s16-ap.468.pt", None),
            ("s_kd", "v.0.0.9", "passt-s-kd-ap.486.pt", None),
            ("l_kd", "v.0.0.10", "passt-l-kd-ap.47.pt", None),
            ("s_hop160", "v0.0.3-audioset", "passt-s-f128-stfthop160-p16-s10-ap.473-swa.pt", None),
            ("s_hop100", "v0.0.3-audioset", "passt-s-f128-stfthop100-p16-s10-ap.473-swa.pt", None),
            ("s_20sec", "v0.0.5", "passt-s-f128-20sec-p16-s10-ap.474-swa.pt", None),
            ("s_30sec", "v0.0.5", "passt-s-f128-30sec-p16-s10-ap.473-swa.pt", None),
            ("b_s16", "v.0.0.7-audioset", "passt-b-f128-p16-s16-ap.459.pt", None),
            ("u600_s16", "v.0.0.7-audioset", "passt-u600-f128-p16-s16-ap.460.pt", None),
            ("s_fsd50k", "v0.0.5", "fsd50k-passt-s-f128-p16-s10-ap.655.pt", None),
            ("s_openmic", "v0.0.5", "openmic-passt-s-f128-10sec-p16-s10-ap.85.pt", None),
        )
    )

    def __init__(
        self,
        size: Literal["s", "l"] | None = None,
        stride: int | None = None,
        hop: int | None = None,
        tokens: Tokens = "all",
        layers: int = 1,
        shape: PaSSTShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if tokens not in get_args(Tokens):
            raise UserError(f"PaSST: tokens is {tokens!r}; give all or class")
        if stride not in (None, *_STRIDES) or hop not in (None, *_FRAMES):
            raise UserError(f"PaSST: stride is {stride} and hop {hop}; give 10, 12, 14 or 16, and 320, 160 or 100")
        if shape is not None:
            if stride not in (None, shape.stride) or hop not in (None, shape.hop):
                raise UserError(f"PaSST: stride is {stride} and hop {hop}, but shape says otherwise; leave them out")
            stride, hop = shape.stride, shape.hop
        published = None if weights is None else _read(weights)
        if shape is None and published is None:
            usual = decided("PaSST", self.sizes, size, None, None)
            stride, hop = stride or usual.stride, hop or usual.hop
            shape = replace(usual, stride=stride, hop=hop, positions=_FRAMES[hop] // stride)
        file = None if published is None else (published, _shape_of(published, stride, hop))
        shape = decided("PaSST", self.sizes, size, shape, file)
        check_layers("PaSST", layers, shape.depth)
        self.shape = shape
        self.layers = layers
        self.tokens = tokens
        self.feature_dim = shape.width
        self.gradient_checkpointing = gradient_checkpointing
        # The lengths that the authors trained on are whole seconds, the last frames of which no patch may reach.
        self.window = math.ceil(shape.positions * shape.stride * shape.hop / self.sample_rate) * self.sample_rate
        self.front_end = MobileNetMel(shape.hop)
        width, self.rows = shape.width, (BANDS - _PATCH) // shape.stride + 1
        for name, *dims in (
            ("cls_token", 1, 1, width),
            ("dist_token", 1, 1, width),
            ("new_pos_embed", 1, _SPECIAL_TOKENS, width),
            ("freq_new_pos_embed", 1, width, BANDS // shape.stride, 1),
            ("time_new_pos_embed", 1, width, 1, shape.positions),
        ):
            self.register_parameter(name, nn.Parameter(nn.init.normal_(torch.empty(dims), std=0.02)))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, _PATCH, shape.stride)})
        self.blocks = stack(shape)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        if tokens == "class":
            # Both are of the whole clip: one frame, in two versions.
            self.layout = TokenLayout(rows=_SPECIAL_TOKENS, bands=False)
        else:
            hop_seconds = shape.hop / self.sample_rate
            # Frames are centred on multiples of the hop.
            start = ((_PATCH - 1) / 2 - shape.stride / 2) * hop_seconds
            self.layout = TokenLayout(
                self.rows, "frequency", _SPECIAL_TOKENS, shape.positions, shape.stride * hop_seconds, start
            )
        if published is not None:
            load_strict(self, published.state, published.path)
            self.settled = {"shape": asdict(shape)}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=PaSSTShape(16, 2, 2, stride=16, positions=30))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 32 kHz to ``(B, F, 128)``, normalised log-mel; of windows one after the other, where they are.

        Raises:
            UserError: The clips are shorter than a patch.
        """
        samples, shortest = waveform.shape[1], (_PATCH - 1) * self.shape.hop + 1
        if samples < shortest:
            raise UserError(
                f"PaSST: clips of {samples} samples; it needs at least {shortest}, {shortest / 32:.0f} ms at 32000 Hz"
            )
        count = 1
        if self.tokens == "class" and samples > self.window:
            half, step = self.window // 2, self.window // 4
            count += samples // step
            mirrored = F.pad(waveform[:, None], (half, half), mode="reflect")[:, 0]
            waveform = mirrored.unfold(1, self.window, step).flatten(0, 1)
        mel: Tensor = self.front_end(waveform).unflatten(0, (-1, count)).flatten(1, 2)
        return mel

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, L, F', D)``: both special tokens, then a row of patches after the other."""
        frames, positions = 1 + (self.window - 1) // self.shape.hop, self.shape.positions
        if self.tokens == "class":
            count = max(1, spectrogram.shape[1] // frames)
            windows = spectrogram.unflatten(1, (count, -1)).flatten(0, 1)
            features = self._encode(self._patches(windows)[..., :positions])[:, :, :_SPECIAL_TOKENS]
            average: Tensor = features.unflatten(0, (-1, count)).mean(1)
            return average
        patches = self._patches(spectrogram)
        count, rest = divmod(patches.shape[3], positions)
        chunks = []
        if count:
            full = patches[..., : count * positions].unflatten(3, (count, positions)).movedim(3, 1).flatten(0, 1)
            features = self._encode(full).unflatten(0, (-1, count))
            chunks += list(features.unbind(1))
        if rest:
            chunks.append(self._encode(patches[..., count * positions :]))
        special = torch.stack([chunk[:, :, :_SPECIAL_TOKENS] for chunk in chunks]).mean(0)
        return torch.cat([special, *(chunk[:, :, _SPECIAL_TOKENS:] for chunk in chunks)], dim=2)

    def _patches(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, D, R, T')``."""
        patches: Tensor = self.patch_embed["proj"](spectrogram.mT[:, None])
        return patches

    def _encode(self, patches: Tensor) -> Tensor:
        """Patches ``(B, D, R, T')`` of one stretch of time to ``(B, L, 2 + R T', D)``."""
        patches = (
            patches + self.time_new_pos_embed[..., : patches.shape[3]] + self.freq_new_pos_embed[:, :, : self.rows]
        )
        special = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        tokens = torch.cat([special.to(patches.dtype).expand(patches.shape[0], -1, -1), patches.flatten(2).mT], dim=1)
        features: Tensor = self.norm(last_outputs(self.blocks, tokens, self.layers, self.gradient_checkpointing))
        return features

    def stages(self) -> list[nn.Module]:
        """Patch embedding with special tokens and positions, then the layers; the last one with the normalisation."""
        own = [self.cls_token, self.dist_token, self.new_pos_embed, self.freq_new_pos_embed, self.time_new_pos_embed]
        first = nn.ModuleList([self.patch_embed, nn.ParameterList(own)])
        return [first, *self.blocks[:-1], nn.ModuleList([self.blocks[-1], self.norm])]


def _read(name_or_path: str) -> Weights:
    weights: Weights = weights_of(find(name_or_path), "PaSST", "freq_new_pos_embed")
    # The distillation token's own classifier is of no use once it is trained.
    heads = ("head.", "head_dist.")
    return replace(weights, state={key: value for key, value in weights.state.items() if not key.startswith(heads)})


def _shape_of(weights: Weights, stride: int | None, hop: int | None) -> PaSSTShape:
    """The dimensions of a file, which must be of the stride that is asked for; the hop it need not tell."""
    size = shape_of(weights, "patch_embed.proj.weight").size
    rows, positions = weights.dims("freq_new_pos_embed", 4)[2], weights.dims("time_new_pos_embed", 4)[3]
    found = stride or next((one for one in _STRIDES if BANDS // one == rows), None)
    if not found or BANDS // found != rows:
        ours = (
            f"a stride of {found} has {BANDS // found}; leave stride out" if found else "which is no published stride"
        )
        raise UserError(f"{weights.path} has positions of {rows} rows, {ours}")
    return PaSSTShape(*size, found, hop or _hop(weights.path, positions, found), positions)


def _hop(path: Path, positions: int, stride: int) -> int:
    lengths = [*_FRAMES.items(), *((320, frames) for frames in _LONGER)]
    fitting = {hop for hop, frames in lengths if frames // stride == positions}
    if len(fitting) > 1:  # The names of the published files tell these apart.
        fitting = {160} if "hop160" in path.name else {320} if "20sec" in path.name else fitting
    if len(fitting) != 1:
        told = " or ".join(str(one) for one in sorted(fitting)) or ", ".join(str(one) for one in _FRAMES)
        raise UserError(f"{path} has {positions} positions in time, which do not tell its hop; set hop to {told}")
    return fitting.pop()


def audioset_classifier(weights: str) -> nn.Sequential:
    """The published classifier: embedding ``(B, D)``, the mean of both class tokens, to logits ``(B, 527)``.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `PaSST`.
    """
    published = weights_of(find(weights), "PaSST", "freq_new_pos_embed")
    state = {key: value for key, value in published.state.items() if key.startswith("head.")}
    classes, width = published.dims("head.1.weight", 2)
    classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
    load_strict(nn.ModuleDict({"head": classifier}), state, published.path)
    return classifier
