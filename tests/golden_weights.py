"""Weights of reference outputs: stored beside them, or made by a rule; and how far an output is from the authors'."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

LAYOUTS = "key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"

_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MIXED = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
"""Shifts and factors of the generator splitmix64."""


def stored(file: Path) -> dict[str, Tensor]:
    """The weights that a file of outputs holds, in float16."""
    return {key.removeprefix("weights."): v for key, v in load_file(file).items() if key.startswith("weights.")}


def made_for(file: Path, layout: str) -> dict[str, Tensor]:
    """The weights that the outputs in a file were computed with, for the keys and shapes of a layout of that name."""
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    keys = json.loads((file.parent / LAYOUTS).read_text())[layout]
    return by_rule(keys, int(said["seed"]), float(said["gain"]))


def by_rule(layout: Mapping[str, Sequence[int]], seed: int, gain: float) -> dict[str, Tensor]:
    """The tensors of a layout of keys and shapes, as the golden files of full-size models were made with."""
    return {key: _tensor(key, tuple(shape), seed, gain) for key, shape in layout.items()}


def _tensor(key: str, shape: tuple[int, ...], seed: int, gain: float) -> Tensor:
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.tensor(0)
    count = math.prod(shape)
    start = ((zlib.crc32(key.encode()) << 32) + seed * _GOLDEN_RATIO) % 2**64
    number = np.arange(count, dtype=np.uint64) + np.uint64(start)
    for shift, factor in _MIXED:
        number = (number ^ (number >> np.uint64(shift))) * np.uint64(factor)
    even = (number >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    if key == "bn0.running_mean":
        value = -30 + 5 * even
    elif key == "bn0.running_var":
        value = 200 * (1 + 0.5 * even)
    elif last == "running_var":
        value = 1 + 0.5 * even
    elif last == "weight":
        value = 1 + 0.2 * even if len(shape) == 1 else even * math.sqrt(3 * gain / (count / shape[0]))
    else:
        value = 0.1 * even
    return torch.from_numpy(value.astype(np.float32)).reshape(shape)


def gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in parts of the largest value that is expected."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())
