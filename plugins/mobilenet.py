"""MobileNet: the mn family of EfficientAT, convolutional networks trained on AudioSet.

Schmid, Koutini, Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation" (2023),
arXiv:2211.04772; the blocks are those of MobileNetV3-large (Howard et al. 2019, table 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from asd_plugins.mobilenet_layers import BANDS, ROWS, STEM, Block, MobileNetMel, convolution, multiple_of_eight
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, TokenLayout, WeightsCard
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.weights_cache import find
from asd.errors import UserError

_RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"
_CLASSES = 527


class MobileNet(Encoder):
    """EfficientAT's MobileNets (mn) for AudioSet tagging, 0.98 M parameters at width 0.4.

    As it is, the features are the last map averaged over its frequency rows, one frame every 320 ms, so that their mean
    over frames is the authors' embedding. Earlier blocks, with their rows kept, know more of how a machine sounds and
    less of what AudioSet calls it.

    Args:
        width: Factor on all channel counts: 0.4 for mn04, 1.0 for mn10, as in the names of the published files;
            ``None``: that of the weights, or 0.4.
        layers: Only 1: earlier maps have other widths and frame rates, which `blocks` chooses from.
        blocks: Inverted residual blocks that are run, 1 to 15; the convolution behind them only after all 15.
        rows: Frequency rows of the last map: averaged, or kept side by side as features.
        weights: A published file, or the name of one that was fetched (``mn04_as``); ``None``: random weights.
        augment: Runs on the spectrogram in training; ``None``: nothing.
    """

    sample_rate = 32000
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(62.74, "frozen", "RealMix", "mn04, block 11 with its rows, K-means; tests/benchmarks/RESULTS.md"),
        KnownScore(65.68, "tuned", "RealMix", "mn04, recipe/mobilenet; tests/benchmarks/RESULTS.md"),
    )
    cards: ClassVar[Sequence[WeightsCard]] = (
        WeightsCard(
            "mn04_as",
            "mn04_as_mAP_432.pt",
            "MIT",
            "arXiv:2211.04772",
            f"{_RELEASE}mn04_as_mAP_432.pt",
            size=4066513,
            sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        ),
        *(
            WeightsCard(
                f"{name}_as",
                f"{name}_as_mAP_{mean}.pt",
                "MIT",
                "arXiv:2211.04772",
                f"{_RELEASE}{name}_as_mAP_{mean}.pt",
            )
            for name, mean in (("mn05", 443), ("mn10", 471), ("mn20", 478), ("mn30", 482), ("mn40", 484))
        ),
    )

    def __init__(
        self,
        width: float | None = None,
        layers: int = 1,
        blocks: int = len(ROWS),
        rows: Literal["averaged", "kept"] = "averaged",
        weights: str | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        published = None if weights is None else _read(weights)
        if published is not None:
            width = _check_width(published, width)
        width = 0.4 if width is None else width
        if width <= 0:
            raise UserError(f"MobileNet: width is {width}; give 0.4, 0.5, 1, 2, 3 or 4 for the published weights")
        if layers != 1:
            raise UserError(
                f"MobileNet: layers is {layers}; it gives one layer, so set layers to 1 and choose it by blocks"
            )
        if not 1 <= blocks <= len(ROWS):
            raise UserError(f"MobileNet: blocks is {blocks}; it has 1 to {len(ROWS)}")
        channels = multiple_of_eight(STEM * width)
        features: list[nn.Module] = [convolution(1, channels, 3, nn.Hardswish, stride=2)]
        for row in ROWS:
            features.append(Block(channels, row, width))
            channels = multiple_of_eight(row.channels * width)
        features.append(convolution(channels, 6 * channels, 1, nn.Hardswish))
        self.front_end = MobileNetMel()
        # Convolutions on the CPU are faster where channels lie together.
        self.features = nn.Sequential(*features).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.apply(_initialise)
        if published is not None:
            state = {key: value for key, value in published.state.items() if not key.startswith("classifier.")}
            load_strict(nn.ModuleDict({"features": self.features}), state, published.path)
            self.settled = {"width": width}
        if blocks < len(ROWS):
            self.features = nn.Sequential(*self.stages()[: 1 + blocks])
            channels = multiple_of_eight(ROWS[blocks - 1].channels * width)
        else:
            channels *= 6
        stride = 2 * math.prod(row.stride for row in ROWS[:blocks])
        kept = BANDS // stride if rows == "kept" else 1
        hop = 0.01 * stride
        self.layout = TokenLayout(kept, "width", hop_seconds=hop, start_seconds=-hop / 2)
        self.feature_dim = channels * kept

    @classmethod
    def tiny(cls) -> Self:
        """A small instance of the same code paths."""
        return cls(width=0.1)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` at 32 kHz to ``(B, F, 128)``, normalised log-mel."""
        mel: Tensor = self.front_end(waveform)
        return mel

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, 128)`` to ``(B, 1, ceil(F / stride), D)``, where the stride of all 15 blocks is 32."""
        maps = self.features(spectrogram.mT[:, None].contiguous(memory_format=torch.channels_last))
        columns: Tensor = maps.flatten(1, 2) if self.layout.rows > 1 else maps.mean(2)
        return columns.mT[:, None]

    def stages(self) -> list[nn.Module]:
        """First convolution, the blocks, and after all fifteen the last convolution."""
        return list(self.features)


def _read(path: str) -> Weights:
    return weights_of(find(path), "EfficientAT", "features.0.0.weight")


def _check_width(weights: Weights, asked: float | None) -> float:
    """The width that is asked for, or else that of the weights."""
    # Channels behind each part: the size of its last batch normalisation.
    keys = (re.fullmatch(r"features\.(\d+)\.(?:block\.(\d)\.)?1\.weight", key) for key in weights.state)
    last = {int(key[1]): key[0] for key in sorted(filter(None, keys), key=lambda key: (int(key[1]), key[2]))}
    channels = [weights.dims(key)[0] for key in last.values()]
    weights.check_holds(100 * channels[-2] ** 2 if len(channels) > 1 else 0)

    def fits(width: float) -> bool:
        parts = [multiple_of_eight(number * width) for number in (STEM, *(row.channels for row in ROWS))]
        return channels == [*parts, 6 * parts[-1]]

    found = next(filter(fits, (channels[-1] / 960, *(n / 100 for n in range(1, 1000)))), None)
    if asked is None and found is not None:
        return found
    if asked is None or (found is not None and not fits(asked)):
        remedy = "is of another network" if found is None else f"has width {found:g}; set width to it, or leave it out"
        raise UserError(f"{weights.path} {remedy}")
    return asked


def audioset_classifier(weights: str) -> nn.Sequential:
    """The published classifier: embedding ``(B, D)`` to the logits ``(B, 527)`` of AudioSet's classes.

    It is no part of the encoder, so that nothing is left unused while fine-tuning.

    Args:
        weights: As for `MobileNet`.
    """
    published = _read(weights)
    state = {key: value for key, value in published.state.items() if key.startswith("classifier.")}
    if "classifier.2.weight" not in state:
        raise UserError(f"{published.path}: no key classifier.2.weight; it holds no AudioSet classifier of EfficientAT")
    hidden, width = state["classifier.2.weight"].shape
    layers = [
        nn.Identity(),
        nn.Identity(),
        nn.Linear(width, hidden),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(hidden, _CLASSES),
    ]
    classifier = nn.Sequential(*layers)
    load_strict(nn.ModuleDict({"classifier": classifier}), state, published.path)
    return classifier


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        # The authors' fan_out counts all groups of a depthwise convolution: signals vanish until statistics settle.
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
