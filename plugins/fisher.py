"""FISHER: a transformer over bands of a linear spectrogram, for machine sound of any sample rate.

Jiang et al., "FISHER: A foundation model for multi-modal industrial signal comprehensive representation" (2025),
arXiv:2507.16696.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import torch
import torch.nn.functional as F
from asd_plugins.eat_layers import PATCH, TABLE, PatchTransformer, Student, check_target_length, read_student
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, TokenLayout, WeightsCard
from asd.encoders.constants import constant
from asd.encoders.transformer import PROJECTIONS, TransformerShape, check_layers, decided
from asd.errors import UserError
from asd.utils.precision import full_precision

Tokens = Literal["all", "class"]
Flatten = Literal["freq", "time"]

_MEAN, _STD = -3.017344307886898, 2.1531635155379805
_FRAMES = 1024
_RATES = (1000, 10_000_000)
_PAPER = "arXiv:2507.16696"
_SHARE = "https://cloud.tsinghua.edu.cn/f/{}/?dl=1"
_SHARED = {"tiny": "630a4b1b2962481a9150", "mini": "60b3bfc0977f45f48dff", "small": "f997a6932b614046915e"}
_EAT_COLUMNS = 8
# Far more than a clip has patches: a file that promises more is damaged, and its table would fill the memory.
_POSITIONS = 100_000


@dataclass(frozen=True)
class FISHERShape(TransformerShape):
    """Dimensions of the network.

    Attributes:
        width: Feature width.
        depth: Number of layers.
        heads: Attention heads.
        band_width: Bins of 40 Hz in a band.
        flatten: What lies side by side where positions are counted: the patches of a moment (``freq``), or those of a
            frequency (``time``).
        max_length: Rows of the table of positions, which has 100000 entries at most.
        max_freq: Entries of a row; patches take the entries in order, whatever their own grid is.
    """

    band_width: int = 100
    flatten: Flatten = "freq"
    max_length: int = 128
    max_freq: int = 50


class FISHER(Encoder):
    """FISHER at any sample rate: tiny with 5.4 M parameters, mini, small. A patch is 160 ms by 640 Hz.

    Bands are encoded each alone, so their number follows from the sample rate: two of 4 kHz at 16 kHz, six at 48 kHz;
    what is above the last whole one is not heard. Only the first 1024 frames (10.25 s) of a clip are.

    A fault of the original is kept, as its weights were trained with it: logarithms have a floor of 1e-10, below the
    rounding of a transform, so that digital silence gives features that differ from one processor to the next.

    Args:
        size: Published size; ``None``: that of the weights, or tiny.
        sample_rate: Hz of the recordings, which are best not resampled.
        tokens: ``all``: the class tokens of the bands, then the patches of all bands as rows of frequency. ``class``:
            the class tokens alone, side by side in the width, which is that of the network times the number of bands:
            the authors' embedding of a clip.
        target_length: Frames, 100 a second, that every clip is cut to, or padded to with zeros behind the
            normalisation; ``auto``: those of the clip, at most 1024, as the authors do.
        layers: The last so many layers are returned.
        shape: Dimensions other than those of a published size.
        gradient_checkpointing: Compute layers again in the backward pass: less memory, about a third more time.
        weights: A published file, or the hub's folder with ``config.json``, or the name of one that was fetched;
            ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    projections = PROJECTIONS
    sizes: ClassVar[Mapping[str, FISHERShape]] = {
        "tiny": FISHERShape(192, 12, 3),
        "mini": FISHERShape(256, 12, 4),
        "small": FISHERShape(384, 12, 6),
    }
    cards: ClassVar[Sequence[WeightsCard]] = (
        *(
            WeightsCard(f"fisher_{size}", f"fisher_{size}.pt", "MIT", _PAPER, _SHARE.format(place))
            for size, place in _SHARED.items()
        ),
        *(
            WeightsCard(
                f"fisher_{size}_hub",
                "model.safetensors",
                "MIT",
                _PAPER,
                beside=("config.json",),
                page=f"https://huggingface.co/jiangab/FISHER-{size}-0723",
            )
            for size in _SHARED
        ),
    )

    def __init__(
        self,
        size: Literal["tiny", "mini", "small"] | None = None,
        sample_rate: int = 16000,
        tokens: Tokens = "all",
        target_length: int | Literal["auto"] = "auto",
        layers: int = 1,
        shape: FISHERShape | None = None,
        gradient_checkpointing: bool = False,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        if tokens not in get_args(Tokens):
            raise UserError(f"FISHER: tokens is {tokens!r}; give all or class")
        if not _RATES[0] <= sample_rate <= _RATES[1]:
            raise UserError(f"FISHER: sample_rate is {sample_rate}; give {_RATES[0]} to {_RATES[1]} Hz")
        student = None if weights is None else read_student(weights, "FISHER")
        file = None if student is None else (student.weights, _shape_of(student, shape))
        shape = decided("FISHER", self.sizes, size, shape, file)
        check_layers("FISHER", layers, shape.depth)
        if shape.band_width < PATCH or shape.flatten not in get_args(Flatten):
            raise UserError(
                f"FISHER: band_width is {shape.band_width} and flatten {shape.flatten!r}; give at least {PATCH} bins, "
                "and freq or time"
            )
        if not 0 < shape.max_length <= _POSITIONS or not 0 < shape.max_freq <= _POSITIONS // shape.max_length:
            raise UserError(
                f"FISHER: max_length is {shape.max_length} and max_freq {shape.max_freq}; give 1 or more of each, and "
                f"no more than {_POSITIONS} of both together"
            )
        rows = shape.band_width // PATCH
        reach = PATCH * (shape.max_length * shape.max_freq // rows)
        check_target_length("FISHER", target_length, reach)
        self.shape = shape
        self.sample_rate = sample_rate
        self.tokens = tokens
        self.padded = target_length != "auto"
        self.longest = min(_FRAMES, reach) if target_length == "auto" else target_length
        self.layers = layers
        self.gradient_checkpointing = gradient_checkpointing
        self.front_end = LogMagnitude(sample_rate)
        self.bands = max(1, self.front_end.bins // shape.band_width)
        self.trunk = PatchTransformer(shape, shape.max_length, shape.max_freq)
        if tokens == "class":
            self.feature_dim = self.bands * shape.width
            self.layout = TokenLayout(self.bands, "width")
        else:
            self.feature_dim = shape.width
            hop_seconds = PATCH * self.front_end.hop / sample_rate
            self.layout = TokenLayout(self.bands * rows, special_tokens=self.bands, hop_seconds=hop_seconds)
        if student is not None:
            # The hub's file of the small size has none.
            student.weights.state.setdefault(TABLE, self.trunk.positions)
            student.load(self.trunk)
            self.settled = {"shape": asdict(shape)}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(layers=2, shape=FISHERShape(16, 2, 2, max_length=8))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)``, normalised logarithms of magnitudes, 40 Hz apart, without what is cut off."""
        bank: Tensor = self.front_end(waveform - waveform.mean(1, keepdim=True))
        return (bank[:, : self.longest] - _MEAN) / (2 * _STD)

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to ``(B, L, F', D)``, as `tokens` says."""
        frames, bins = spectrogram.shape[1:]
        if frames < PATCH and not self.padded:
            raise UserError(f"FISHER: clips of {frames} frames; it needs at least {PATCH}, 175 ms")
        width = self.shape.band_width
        padding = (0, max(0, width - bins), 0, self.longest - frames if self.padded else 0)
        banded = F.pad(spectrogram, padding)[..., : self.bands * width].unflatten(2, (self.bands, width))
        # Bands as clips of their own: (B * bands, D, T', W).
        patches = self.trunk.patches(banded.transpose(1, 2).flatten(0, 1))
        columns = patches.shape[2:]
        by_time = self.shape.flatten == "time"
        ordered = (patches.mT if by_time else patches).flatten(2).mT
        features = self.trunk(ordered, self.layers, self.gradient_checkpointing)
        features = features.unflatten(0, (-1, self.bands)).transpose(1, 2)
        first, rest = features[..., 0, :], features[..., 1:, :]
        if self.tokens == "class":
            side_by_side: Tensor = first.mT.flatten(2)[:, :, None]
            return side_by_side
        # (B, L, bands, T', W, D), of which a moment's rows are those of one band after the other.
        grid = rest.unflatten(3, columns[::-1]).transpose(3, 4) if by_time else rest.unflatten(3, columns)
        return torch.cat([first, grid.transpose(2, 3).flatten(2, 4)], dim=2)

    def stages(self) -> list[nn.Module]:
        """Patch embedding with the class token, then layer after layer."""
        stages: list[nn.Module] = self.trunk.stages()
        return stages


class LogMagnitude(nn.Module):
    """Logarithms of the magnitudes of windows of 25 ms every 10 ms, within the clip alone, in float32.

    Args:
        sample_rate: Hz; bins are 40 Hz apart whatever it is.

    Attributes:
        bins: Number of bins ``M``.
    """

    window: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.size = 25 * sample_rate // 1000
        self.hop = 10 * sample_rate // 1000
        self.bins = self.size // 2 + 1
        self.register_buffer("window", constant(torch.hann_window, self.size), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, F, M)``; a clip shorter than one window is padded with zeros to one."""
        with full_precision(waveform):
            waveform = F.pad(waveform.float(), (0, max(0, self.size - waveform.shape[1])))
            spectrum = torch.stft(
                waveform, self.size, self.hop, window=self.window, center=False, return_complex=True
            ).mT
            # Far below what is added next, so that the slope is finite where a bin is zero.
            magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-36).sqrt()
            return (magnitude + 1e-10).log()


def _shape_of(student: Student, asked: FISHERShape | None) -> FISHERShape:
    """The dimensions of a file, which tells the width of its bands itself, or else is told."""
    path = student.weights.path

    def said(name: str, usual: Any, kind: type) -> Any:
        # Those of patches may be references to the others, as text.
        values = [part[name] for part in (student.settings, student.image) if type(part.get(name)) is kind]
        return values[0] if values else usual

    band_width = said("band_width", None if asked is None else asked.band_width, int)
    if student.columns() == _EAT_COLUMNS and said("band_width", None, int) is None:
        raise UserError(f"{path} is of EAT or SSLAM, not of FISHER: its positions are of 8 rows of mel bands")
    if band_width is None:
        raise UserError(
            f"{path} does not tell band_width, the bins of a band; give the authors' file with its cfg, or set shape"
        )
    usual = asked or FISHERShape(0, 0, 0)
    width, depth, heads = student.shape().size
    return FISHERShape(
        width,
        depth,
        heads,
        band_width,
        said("flatten", usual.flatten, str),
        said("max_length", usual.max_length, int),
        said("max_freq", usual.max_freq, int),
    )
