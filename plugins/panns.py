"""PANNs: convolutional networks on log-mel spectrograms, trained on AudioSet.

Kong et al., "PANNs: Large-scale pretrained audio neural networks for audio pattern recognition" (IEEE/ACM TASLP 2020),
arXiv:1912.10211.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple, Self, get_args

import torch
import torch.nn.functional as F
from asd_plugins.conv_layers import (
    ConvolutionBlock,
    Rows,
    check_choice,
    check_same,
    classifier_of,
    first_of,
    weights_of_blocks,
)
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.constants import constant
from asd.encoders.mel import BandSpectrogram, mel_filters, pad_end
from asd.encoders.pretrained import Weights, load_strict
from asd.errors import Notice, UserError

Frames = Literal["pooled", "kept"]
Rate = Literal[32000, 16000]
Size = Literal["cnn14", "cnn10", "cnn6"]

_BANDS = 64
_LEAST_POWER = 1e-10
# Samples of a window, whose bins the file's mel filters show.
_WINDOWS: dict[Rate, int] = {32000: 1024, 16000: 512}
# Constants, which are computed here, and the classifier.
_BESIDE = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")


class _Network(NamedTuple):
    widths: tuple[int, ...]
    pooled: int
    convolutions: int
    kernel: int


_SIZES: dict[str, _Network] = {
    "cnn14": _Network((64, 128, 256, 512, 1024, 2048), pooled=5, convolutions=2, kernel=3),
    "cnn10": _Network((64, 128, 256, 512), pooled=4, convolutions=2, kernel=3),
    "cnn6": _Network((64, 128, 256, 512), pooled=4, convolutions=1, kernel=5),
}


class PANNs(Encoder):
    """PANNs: CNN14 with 80 M parameters at 32 or 16 kHz, CNN10 and CNN6 with 5 M at 32 kHz.

    As it is, the features are one frame for the clip, the authors' embedding: the maximum over time plus the mean, of
    the last map averaged over frequency, through a linear layer and ReLU; with rows kept, each goes through it by
    itself. With frames kept they are the last map, every 320 ms for CNN14 and every 160 ms for the others. Clips too
    short for the network, of less than 0.31 or 0.15 s, are padded with zeros at the end, where the authors' code fails.

    Args:
        size: Which network; ``None``: that of the weights, or cnn14.
        sample_rate: Hz, 32000 or 16000; ``None``: that of the weights, or 32000.
        layers: Only 1: earlier maps have other widths and frame rates, which `blocks` chooses from.
        blocks: Blocks that are run, 1 to 6 of CNN14, 1 to 4 of the others; ``None``: all.
        rows: Frequency rows of the last map, 2 of CNN14, 4 of the others: averaged, or each kept as a token.
        frames: Those of the last map: pooled, as the authors do, or kept.
        widths: Channels of each block; ``None``: those of the weights, or those that were published.
        weights: A published file, or the name of one that was fetched (``cnn14``); ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 32000
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(
            54.23,
            "frozen",
            "2025 evaluation",
            "nearest neighbour, features averaged; polestvr/daco-experiments",
        ),
    )
    cards: ClassVar[Sequence[WeightsCard]] = tuple(
        WeightsCard(
            name.lower(),
            f"{name}_mAP={mean}.pth",
            "CC-BY-4.0",
            "arXiv:1912.10211",
            f"https://zenodo.org/records/3987831/files/{name}_mAP%3D{mean}.pth?download=1",
            size,
            sha256,
            md5=md5,
        )
        for name, mean, size, sha256, md5 in (
            ("Cnn14", "0.431", 327428481, "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31", None),
            ("Cnn14_16k", "0.438", None, "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6", None),
            ("Cnn10", "0.380", 25237595, None, "bfb1f1f9968938fa8ef4012b8471f5f6"),
            ("Cnn6", "0.343", None, None, "e25e26b84585b14c7754c91e48efc9be"),
        )
    )

    def __init__(
        self,
        size: Size | None = None,
        sample_rate: Rate | None = None,
        layers: int = 1,
        blocks: int | None = None,
        rows: Rows = "averaged",
        frames: Frames = "pooled",
        widths: Sequence[int] | None = None,
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        _check_arguments(size, sample_rate, frames)
        published = None if weights is None else weights_of_blocks(weights, "PANNs")
        if published is not None:
            size = _check_size(published, size)
            sample_rate = _check_rate(published, sample_rate)
            widths = _check_widths(published, size, widths)
        network = _SIZES[size or "cnn14"]
        widths = network.widths if widths is None else tuple(widths)
        if len(widths) != len(network.widths) or min(widths) < 1:
            raise UserError(f"PANNs: widths is {list(widths)}; give {len(network.widths)} numbers of channels")
        blocks = len(widths) if blocks is None else blocks
        check_choice("PANNs", layers, blocks, len(widths), rows)
        if frames == "pooled" and blocks < len(widths):
            raise UserError(f"PANNs: frames is pooled, for which all {len(widths)} blocks are run; set frames to kept")
        rate = sample_rate or 32000
        self.sample_rate = rate
        window = _WINDOWS[rate]
        filters = mel_filters(_BANDS, window, rate, 50.0, min(14000.0, rate / 2), "hertz", "area", slaney=True)
        self.front_end = BandSpectrogram(constant(torch.hann_window, window), rate // 100, filters)
        self.bn0 = nn.BatchNorm1d(_BANDS)
        named: dict[str, nn.Module] = {}
        for number, (inputs, outputs) in enumerate(pairwise((1, *widths)), 1):
            pooling: Literal["mean"] | None = "mean" if number <= network.pooled else None
            block = ConvolutionBlock(inputs, outputs, network.convolutions, network.kernel, pooling)
            named[f"conv_block{number}"] = block
        self.fc1: nn.Linear | None = nn.Linear(widths[-1], widths[-1])
        if published is not None:
            state = {key: value for key, value in published.state.items() if not key.startswith(_BESIDE)}
            load_strict(nn.ModuleDict({"bn0": self.bn0, **named, "fc1": self.fc1}), state, published.path)
            self.settled = {"size": size, "sample_rate": rate, "widths": list(widths)}
        self.features = first_of(named, blocks)
        if frames == "kept":
            self.fc1 = None
        self.feature_dim = widths[blocks - 1]
        self.rows_kept = rows == "kept"
        self.shortest = (2**network.pooled - 1) * self.front_end.hop
        stride = 2 ** min(blocks, network.pooled)
        kept = _BANDS // stride if self.rows_kept else 1
        hop = 0.01 * stride
        # The first spectrum is of the window that is centred on the first sample.
        self.layout = TokenLayout(kept, "time") if self.fc1 else TokenLayout(kept, "time", 0, None, hop, -0.005)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls("cnn6", blocks=2, rows="kept", frames="kept", widths=[8] * 4)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the log-mel ``(B, F, 64)`` in decibels, one frame every 10 ms."""
        half = self.front_end.size // 2
        mirrored = F.pad(pad_end(waveform, self.shortest), (half, half), mode="reflect")
        level: Tensor = self.front_end(mirrored).clamp_min(_LEAST_POWER).log10()
        return 10 * level

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 64)`` to ``(B, 1, F' * R, D)``, frames ``F'`` in `layout`'s rows ``R``."""
        maps = self.features(self.bn0(spectrogram.mT).mT[:, None])
        if not self.rows_kept:
            maps = maps.mean(3, keepdim=True)
        if self.fc1 is None:
            tokens: Tensor = maps.permute(0, 2, 3, 1).flatten(1, 2)
        else:
            tokens = F.relu(self.fc1((maps.amax(2) + maps.mean(2)).mT))
        return tokens[:, None]

    def stages(self) -> list[nn.Module]:
        """Block after block; the normalisation of the bands goes with the first, the linear layer with the last."""
        parts = [nn.ModuleList([block]) for block in self.features]
        parts[0].insert(0, self.bn0)
        if self.fc1 is not None:
            parts[-1].append(self.fc1)
        return list(parts)


def _check_arguments(size: object, sample_rate: object, frames: object) -> None:
    for name, value, known in (
        ("size", size, (None, *get_args(Size))),
        ("sample_rate", sample_rate, (None, *_WINDOWS)),
        ("frames", frames, get_args(Frames)),
    ):
        if value not in known:
            raise UserError(f"PANNs: {name} is {value!r}; choose one of {', '.join(str(one) for one in known if one)}")


def _check_size(weights: Weights, asked: Size | None) -> Size:
    """Which network the weights are of, which must be that which is asked for."""
    keys = [key for key in weights.state if re.fullmatch(r"conv_block\d+\.conv1\.weight", key)]
    convolutions = 2 if "conv_block1.conv2.weight" in weights.state else 1
    kernel = weights.dims("conv_block1.conv1.weight", 4)[-1]
    found = [
        size
        for size, network in _SIZES.items()
        if (len(network.widths), network.convolutions, network.kernel) == (len(keys), convolutions, kernel)
    ]
    if not found:
        raise UserError(
            f"{weights.path} is of another network of PANNs: {len(keys)} blocks of {convolutions} convolutions of "
            f"{kernel} by {kernel}; {', '.join(_SIZES)} are supported"
        )
    if asked not in (None, *found):
        raise UserError(f"{weights.path} is of {found[0]}; set size to it, or leave it out")
    size: Size = found[0]  # type: ignore[assignment]
    return size


def _check_rate(weights: Weights, asked: Rate | None) -> Rate:
    """The sample rate of the weights, which must be that which is asked for; the mel filters alone tell it."""
    if "logmel_extractor.melW" not in weights.state:
        if asked is None:
            warnings.warn(
                f"{weights.path} does not say its sample rate; 32000 Hz is taken, set sample_rate where it is 16000",
                Notice,
                stacklevel=2,
            )
        return asked or 32000
    bins, bands = weights.dims("logmel_extractor.melW", 2)
    if bands != _BANDS:
        raise UserError(f"{weights.path} has {bands} mel bands; only those of {_BANDS} are supported")
    found: Rate | None = next((rate for rate, window in _WINDOWS.items() if bins == window // 2 + 1), None)
    if found is None:
        raise UserError(
            f"{weights.path} has windows of {2 * (bins - 1)} samples; only 32000 and 16000 Hz are supported"
        )
    if asked not in (None, found):
        raise UserError(f"{weights.path} is of {found} Hz; set sample_rate to it, or leave it out")
    return found


def _check_widths(weights: Weights, size: Size, asked: Sequence[int] | None) -> list[int]:
    """The widths of the weights, which must be those that are asked for."""
    numbers = range(1, 1 + len(_SIZES[size].widths))
    found = [weights.dims(f"conv_block{number}.conv1.weight", 4)[0] for number in numbers]
    weights.check_holds(9 * sum(one * other for one, other in pairwise(found)))
    check_same(weights, "widths", found, asked)
    return found


def audioset_classifier(weights: str) -> nn.Linear:
    """The published classifier: the embedding ``(B, D)`` to the logits ``(B, 527)`` of AudioSet's classes.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `PANNs`.
    """
    classifier: nn.Linear = classifier_of(weights_of_blocks(weights, "PANNs"), "fc_audioset", "PANNs")
    return classifier
