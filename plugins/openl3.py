"""OpenL3: a convolutional network that learned from video which sound belongs to which picture.

Cramer et al., "Look, listen and learn more: Design choices for deep audio embeddings" (ICASSP 2019),
doi:10.1109/ICASSP.2019.8682475.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Self, get_args

import torch
import torch.nn.functional as F
from asd_plugins.conv_layers import check_choice
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, TokenLayout, WeightsCard
from asd.encoders.constants import constant
from asd.encoders.mel import BandSpectrogram, mel_filters
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.weights_cache import find
from asd.errors import Notice, UserError
from asd.utils.precision import full_precision

Bands = Literal["mel256", "mel128", "linear"]
Embedding = Literal[512, 6144]
Rows = Literal["pooled", "kept"]

_HOP = 242
# Channels behind each convolution, in widths of the first, and those before which the maximum of 2 by 2 is taken.
_FACTORS = (1, 1, 2, 2, 4, 4, 8, 8)
_POOLED_BEFORE = (3, 5, 7)
_RANGE_DB = 80.0
# Rows and steps in time that the larger embedding divides the last map into.
_GRID = (4, 3)
_AT_ONCE = 8
_FILTERS, _KERNELS = "speclayer.mel_basis", "speclayer.dft_real_kernels"


class _FrontEnd(NamedTuple):
    bands: int
    window: int
    padding: int


_FRONT_ENDS: dict[Bands, _FrontEnd] = {
    "mel256": _FrontEnd(256, 2048, 982),
    "mel128": _FrontEnd(128, 2048, 982),
    "linear": _FrontEnd(257, 512, 0),
}


class OpenL3(Encoder):
    """OpenL3 at 48 kHz, 4.7 M parameters. A frame is a window of 1 s, centred on every `hop_seconds` of the clip.

    As it is, the features of a window are the maximum of its last map, or those of twelve parts of it, which are the
    authors' embeddings of 512 and 6144 numbers. Each window is measured below its own loudest sound, so level is no
    cue. A window takes most of a second on one core of a CPU: the authors have ten a second, here there is one.

    Args:
        bands: What the network sees, 256 or 128 mel bands or 257 bins; ``None``: that of the weights, or mel256.
        embedding: 512, the maximum of the whole map, or 6144, the maxima of 4 parts in frequency by 3 in time;
            ``None``: that in the name of the file, or 512. For other widths, as many parts.
        hop_seconds: Time from one window to the next, at most their length of 1.
        layers: Only 1: earlier maps have other widths, which `blocks` chooses from.
        blocks: Convolutions that are run, 1 to 8.
        rows: Frequency rows of the last map: pooled, or each kept as a token, 32 after all blocks, of mel128 16; of the
            larger embedding its 4 parts in frequency.
        width: Channels of the first convolution; ``None``: those of the weights, or 64.
        weights: A file in the layout of torchopenl3, or the name of one that was fetched (``openl3_mel256_env_512``);
            ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 48000
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(
            f"openl3_{bands}_{content}_{embedding}",
            f"torchopenl3_{bands}_{content}_{embedding}.pth.tar",
            "CC-BY-4.0",
            "doi:10.1109/ICASSP.2019.8682475",
            "https://github.com/torchopenl3/torchopenl3-models/raw/master/"
            f"torchopenl3_{bands}_{content}_{embedding}.pth.tar",
        )
        for bands in _FRONT_ENDS
        for content in ("music", "env")
        for embedding in get_args(Embedding)
    )

    def __init__(
        self,
        bands: Bands | None = None,
        embedding: Embedding | None = None,
        hop_seconds: float = 1.0,
        layers: int = 1,
        blocks: int = len(_FACTORS),
        rows: Rows = "pooled",
        width: int | None = None,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        check_choice("OpenL3", layers, blocks, len(_FACTORS), rows, Rows)
        published = None if weights is None else weights_of(find(weights), "OpenL3", "audio_embedding_layer.weight")
        if published is not None:
            bands = _check_bands(published, bands)
            width = _check_width(published, width)
            embedding = _embedding_of(published.path.name) if embedding is None else embedding
        width = 64 if width is None else width
        bands = "mel256" if bands is None else bands
        embedding = 512 if embedding is None else embedding
        _check_arguments(bands, embedding, hop_seconds, width)
        self.hop = round(hop_seconds * self.sample_rate)
        kind = _FRONT_ENDS[bands]
        window = constant(torch.hann_window, kind.window)
        self.front_end = BandSpectrogram(window, _HOP, None, magnitude=bands == "linear")
        self.padding = kind.padding
        self.frames = 1 + (self.sample_rate + 2 * kind.padding - kind.window) // _HOP
        filters = None
        if bands != "linear":
            filters = mel_filters(kind.bands, kind.window, self.sample_rate, 0.0, 24000.0, "hertz", "sum")
        # Kept with the weights, for files have filters of their own, which differ between releases.
        self.register_buffer("filters", filters)
        named = _layers(width)
        if published is not None:
            self._adopt(published, named)
            self.settled = {"bands": bands, "embedding": embedding, "width": width}
        self.features = nn.Sequential(*_stages(named)[:blocks])
        self.rows_kept = rows == "kept"
        self.grid = _GRID if embedding == 6144 else None
        map_rows, steps = self.grid or (kind.bands // 2 ** ((blocks - 1) // 2), 1)
        if self.rows_kept:
            kept, parts = map_rows, steps
        else:
            kept, parts = 1, map_rows * steps if self.grid else 1
        self.feature_dim = parts * _FACTORS[blocks - 1] * width
        hop = self.hop / self.sample_rate
        self.layout = TokenLayout(kept, "time", hop_seconds=hop, start_seconds=-hop / 2)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls("mel128", blocks=7, rows="kept", width=3)

    def _adopt(self, weights: Weights, named: nn.ModuleDict) -> None:
        own = {key: value for key, value in weights.state.items() if not key.startswith("speclayer.")}
        load_strict(named, own, weights.path)
        if self.filters is not None and _FILTERS in weights.state:
            # So far they are all that this module holds.
            load_strict(self, {"filters": weights.state[_FILTERS].mT}, weights.path)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 48 kHz to ``(B, W * F, M)`` in decibels, the frames ``F`` of all windows ``W`` in a row."""
        second = self.sample_rate
        further = -(-max(0, waveform.shape[-1] - second // 2) // self.hop)
        behind = second // 2 + further * self.hop - waveform.shape[-1]
        windows = F.pad(waveform, (second // 2, behind)).unfold(1, second, self.hop)
        level = self.front_end(F.pad(windows, (self.padding, self.padding)))
        with full_precision(level):
            if self.filters is None:
                level = 10 * level.clamp_min(1e-10).log10()
            else:
                # Ten times the logarithm of the square root of the power in a band, as in the authors' training.
                level = 5 * (level @ self.filters).clamp_min(1e-20).log10()
            below = level - level.amax((2, 3), keepdim=True)
        spectrogram: Tensor = below.clamp_min(-_RANGE_DB).flatten(1, 2)
        return spectrogram

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, W * F, M)`` to ``(B, 1, W * R, D)``, in `layout`'s rows ``R``."""
        windows = spectrogram.unflatten(1, (-1, self.frames)).mT  # (B, W, M, F)
        maps = windows.flatten(0, 1)[:, None]
        # Without gradients few at a time, for all windows of a batch of long clips would fill gigabytes.
        whole = self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()
        parts = [self._tokens(part) for part in ([maps] if whole else maps.split(_AT_ONCE))]
        tokens: Tensor = torch.cat(parts).unflatten(0, (-1, windows.shape[1])).flatten(1, 2)
        return tokens[:, None]

    def _tokens(self, maps: Tensor) -> Tensor:
        """``(N, 1, M, F)`` to ``(N, R, D)``."""
        maps = self.features(maps)
        if self.grid is not None:
            rows, steps = self.grid
            parts = F.max_pool2d(maps, (maps.shape[2] // rows, maps.shape[3] // steps))
        else:
            parts = maps.amax(3, keepdim=True) if self.rows_kept else maps.amax((2, 3), keepdim=True)
        tokens = parts.permute(0, 2, 3, 1).flatten(2)
        return tokens if self.rows_kept else tokens.flatten(1)[:, None]

    def stages(self) -> list[nn.Module]:
        """Convolution after convolution, the normalisation of the input with the first."""
        return list(self.features)


def _layers(width: int) -> nn.ModuleDict:
    """The layers by the names that published files have for them."""
    named: dict[str, nn.Module] = {"batch_normalization_1": nn.BatchNorm2d(1, eps=1e-3)}
    inputs = 1
    for number, factor in enumerate(_FACTORS[:-1], 1):
        named[f"conv2d_{number}"] = nn.Conv2d(inputs, factor * width, 3, padding=1)
        named[f"batch_normalization_{number + 1}"] = nn.BatchNorm2d(factor * width, eps=1e-3)
        inputs = factor * width
    named["audio_embedding_layer"] = nn.Conv2d(inputs, _FACTORS[-1] * width, 3, padding=1)
    return nn.ModuleDict(named)


def _stages(named: nn.ModuleDict) -> list[nn.Module]:
    """Each convolution with what stands before and behind it; behind the last is nothing."""
    stages: list[nn.Module] = []
    for number in range(1, len(_FACTORS)):
        stage: list[nn.Module] = [named[f"conv2d_{number}"], named[f"batch_normalization_{number + 1}"], nn.ReLU()]
        if number == 1:
            stage.insert(0, named["batch_normalization_1"])
        if number in _POOLED_BEFORE:
            stage.insert(0, nn.MaxPool2d(2))
        stages.append(nn.Sequential(*stage))
    return [*stages, named["audio_embedding_layer"]]


def _check_arguments(bands: str, embedding: int, hop_seconds: float, width: int) -> None:
    if bands not in _FRONT_ENDS:
        raise UserError(f"OpenL3: bands is {bands!r}; choose one of {', '.join(_FRONT_ENDS)}")
    if embedding not in get_args(Embedding):
        raise UserError(f"OpenL3: embedding is {embedding!r}; choose 512 or 6144")
    if not 0.01 <= hop_seconds <= 1:
        raise UserError(f"OpenL3: hop_seconds is {hop_seconds}; give 0.01 to 1, which is the length of a window")
    if width < 1:
        raise UserError(f"OpenL3: width is {width}; give 64 for the published weights")


def _check_bands(weights: Weights, asked: Bands | None) -> Bands | None:
    """What the weights see, which must be what is asked for; their constants alone tell it."""
    if _FILTERS in weights.state:
        count, bins = weights.dims(_FILTERS, 2)
    elif _KERNELS in weights.state and weights.dims(_KERNELS, 3)[0] == _FRONT_ENDS["linear"].bands:
        count = bins = _FRONT_ENDS["linear"].bands
    else:
        if asked is None:
            warnings.warn(
                f"{weights.path} does not say what its network sees; mel256 is taken, set bands where it is another",
                Notice,
                stacklevel=2,
            )
        return asked
    seen = {(kind.bands, kind.window // 2 + 1): bands for bands, kind in _FRONT_ENDS.items()}
    found = seen.get((count, bins))
    if found is None:
        raise UserError(
            f"{weights.path} sees {count} bands of {bins} bins; only {', '.join(_FRONT_ENDS)} are supported"
        )
    if asked not in (None, found):
        raise UserError(f"{weights.path} is of {found}; set bands to it, or leave it out")
    return found


def _check_width(weights: Weights, asked: int | None) -> int:
    """The width of the weights, which must be that which is asked for."""
    found = weights.dims("conv2d_1.weight", 4)[0]
    if asked not in (None, found):
        raise UserError(f"{weights.path} has width {found}; set width to it, or leave it out")
    weights.check_holds(9 * (8 * found) ** 2)
    return found


def _embedding_of(name: str) -> Embedding | None:
    """The embedding in the name of a published file; the file itself does not tell it."""
    found: Embedding | None = next((size for size in get_args(Embedding) if re.search(rf"_{size}\b", name)), None)
    return found
