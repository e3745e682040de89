"""Weights of reference outputs: stored beside them, or made by the rule that their README states."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

LAYOUTS = "key_layouts_panns_passt_atst_yamnet_openl3_aisfx.json"


def stored(file: Path) -> dict[str, Tensor]:
    """The weights that a file of outputs holds, in float16."""
    return {key.removeprefix("weights."): v for key, v in load_file(file).items() if key.startswith("weights.")}


def by_rule(file: Path, layout: str) -> dict[str, Tensor]:
    """The weights that the outputs in a file were computed with, for the keys and shapes of a layout."""
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    keys = json.loads((file.parent / LAYOUTS).read_text())[layout]
    return {key: _value(key, shape, int(said["seed"]), float(said["gain"])) for key, shape in keys.items()}


def _value(key: str, shape: list[int], seed: int, gain: float) -> Tensor:
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):  # the arithmetic wraps around
        mixed = np.arange(count, dtype=np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(zlib.crc32(key.encode())) << np.uint64(32)
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    uniform = (mixed >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    if not key.endswith(".weight"):
        value = 0.1 * uniform
    elif len(shape) == 1:
        value = 1 + 0.2 * uniform
    else:
        value = uniform * np.sqrt(3 * gain * shape[0] / count)
    return torch.from_numpy(value.astype(np.float32)).reshape(shape)
