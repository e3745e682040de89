"""What the convolutional encoders share: the block of PANNs, and the choice of a block and of its rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.weights_cache import find
from asd.errors import UserError
from asd.utils.precision import full_precision

Rows = Literal["averaged", "kept"]


def check_choice(encoder: str, layers: int, blocks: int, count: int, rows: str, known: object = Rows) -> None:
    """Raise `UserError` unless one map is asked for, of a block that there is.

    Args:
        encoder: Its name.
        layers: What is asked for as `layers`.
        blocks: What is asked for as `blocks`.
        count: How many blocks there are.
        rows: What is asked for as `rows`.
        known: The `Literal` of what `rows` may be.
    """
    if layers != 1:
        raise UserError(
            f"{encoder}: layers is {layers}; it gives one layer, so set layers to 1 and choose it by blocks"
        )
    if not 1 <= blocks <= count:
        raise UserError(f"{encoder}: blocks is {blocks}; it has 1 to {count}")
    if rows not in get_args(known):
        raise UserError(f"{encoder}: rows is {rows!r}; choose {' or '.join(get_args(known))}")


class ConvolutionBlock(nn.Module):
    """Convolutions with batch normalisation and ReLU, then pooling of 2 by 2; the names are those of published files.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        convolutions: How many, 1 or 2.
        kernel: Their width.
        pooling: The mean or the maximum of 2 by 2; ``None``: nothing.
    """

    def __init__(
        self, inputs: int, outputs: int, convolutions: int, kernel: int, pooling: Literal["mean", "max"] | None
    ) -> None:
        super().__init__()
        self.pooling = pooling
        for number in range(1, convolutions + 1):
            convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            nn.init.xavier_uniform_(convolution.weight)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            inputs = outputs

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, T, M)`` to ``(B, C', T', M')``."""
        # In the order of the constructor: convolution, normalisation, and again.
        for layer in self.children():
            maps = F.relu(layer(maps)) if isinstance(layer, nn.BatchNorm2d) else layer(maps)
        if self.pooling is None:
            return maps
        return F.avg_pool2d(maps, 2) if self.pooling == "mean" else F.max_pool2d(maps, 2)


class Float32Convolution(nn.Conv2d):
    """A convolution that a CPU trains in float32, whatever the precision around it.

    oneDNN has no fast gradients in bfloat16 for some: those of each channel alone with a stride, or of 5 by 5, take 5
    to 25 times as long as in float32.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, C, T, M)`` to ``(B, C', T', M')``."""
        trained = torch.is_grad_enabled() and (maps.requires_grad or self.weight.requires_grad)
        if not trained or maps.device.type != "cpu":
            return super().forward(maps)
        around = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
        bias = None if self.bias is None else self.bias.float()
        with full_precision(maps):
            result: Tensor = self._conv_forward(maps.float(), self.weight.float(), bias)
        return result.to(around)


def depthwise(channels: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    """A convolution of each channel alone, without bias.

    Args:
        channels: How many.
        kernel: Its width.
        stride: From one output to the next.
        padding: Zeros on each side.
    """
    kind = Float32Convolution if stride > 1 or kernel > 3 else nn.Conv2d
    return kind(channels, channels, kernel, stride, padding, groups=channels, bias=False)


def first_of(parts: Mapping[str, nn.Module], count: int) -> nn.Sequential:
    """The first `count` of the parts of a network, one after the other under their names."""
    return nn.Sequential(OrderedDict(islice(parts.items(), count)))


def weights_of_blocks(weights: str, network: Literal["PANNs", "aiSFX"]) -> Weights:
    """The weights of one of the two networks of such blocks, by path or name.

    Raises:
        UserError: The file cannot be used, or is of another network, perhaps the other of the two.
    """
    published = weights_of(find(weights), network, "conv_block1.conv1.weight")
    # PANNs alone normalise their bands.
    held: Literal["PANNs", "aiSFX"] = "PANNs" if "bn0.weight" in published.state else "aiSFX"
    if held != network:
        raise UserError(f"{published.path} is no file of {network}: it holds {held}")
    return published


def check_same(weights: Weights, what: str, found: Sequence[int], asked: Sequence[int] | None) -> None:
    """Raise `UserError` unless what a file holds is what is asked for, if anything is."""
    if asked is not None and list(asked) != list(found):
        raise UserError(f"{weights.path} has {what} {list(found)}; set {what} to them, or leave it out")


def classifier_of(published: Weights, layer: str, network: str) -> nn.Linear:
    """The classifier of that name in a file of a network: ``(B, D)`` to logits.

    Raises:
        UserError: The file holds none.
    """
    state = {key: value for key, value in published.state.items() if key.startswith(f"{layer}.")}
    if f"{layer}.weight" not in state:
        raise UserError(f"{published.path}: no key {layer}.weight; it holds no AudioSet classifier of {network}")
    classes, width = state[f"{layer}.weight"].shape
    classifier = nn.Linear(width, classes)
    load_strict(nn.ModuleDict({layer: classifier}), state, published.path)
    return classifier
