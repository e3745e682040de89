"""What EAT, SSLAM and FISHER share: a post-norm transformer over patches with fixed positions, and its files.

The network is the student of data2vec 2.0 (Baevski et al. 2022, arXiv:2212.07525) on patches of a spectrogram.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asd.encoders.constants import constant
from asd.encoders.pretrained import Weights, load_strict, weights_of
from asd.encoders.transformer import TransformerShape, last_outputs, shape_of, stack
from asd.encoders.weights_cache import find
from asd.errors import UserError
from asd.utils.strict_json import loads

PATCH = 16
TABLE = "positions"
_IMAGE = "modality_encoders.IMAGE."
_EMBEDDING = "local_encoder.proj.weight"
_PRETRAINED = ("pretrained_model_args", "model")
_NEAR = 1e-3
# What this network computes; a file that says otherwise is of another one.
_FIXED: dict[str, Any] = {
    "mlp_ratio": 4,
    "norm_eps": 1e-6,
    "layer_norm_first": False,
    "patch_size": PATCH,
    "in_chans": 1,
    "num_extra_tokens": 1,
    "use_alibi_encoder": False,
}


class PatchTransformer(nn.Module):
    """Patches of 16 by 16 with a class token before them, through post-norm layers without a last normalisation.

    Args:
        shape: Dimensions.
        rows: Rows of the table of positions; patches take its entries in order, from the first on.
        columns: Entries of a row.
    """

    positions: Tensor

    def __init__(self, shape: TransformerShape, rows: int, columns: int) -> None:
        super().__init__()
        self.extra_tokens = nn.Parameter(nn.init.normal_(torch.empty(1, 1, shape.width), std=0.02))
        self.local_encoder = nn.ModuleDict({"proj": nn.Conv2d(1, shape.width, PATCH, PATCH)})
        self.pre_norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.blocks = stack(shape, post_norm=True)
        # Kept with the weights: files hold it rounded in ways of their own.
        self.register_buffer(TABLE, torch.empty(1, rows * columns, shape.width))
        if not self.positions.is_meta:
            self.positions.copy_(constant(_table, rows, columns, shape.width))

    def patches(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to ``(B, D, F // 16, M // 16)``."""
        maps: Tensor = self.local_encoder["proj"](spectrogram[:, None])
        return maps

    def forward(self, tokens: Tensor, layers: int, saving: bool) -> Tensor:
        """Patches ``(B, N, D)`` in the order of positions to ``(B, L, 1 + N, D)``, as `last_outputs`."""
        tokens = tokens + self.positions[:, : tokens.shape[1]]
        tokens = torch.cat([self.extra_tokens.to(tokens.dtype).expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return last_outputs(self.blocks, self.pre_norm(tokens), layers, saving)

    def stages(self) -> list[nn.Module]:
        """Patch embedding with the class token, then layer after layer."""
        first = nn.ModuleList([self.local_encoder, nn.ParameterList([self.extra_tokens]), self.pre_norm])
        return [first, *self.blocks]


def _waves(places: int, width: int) -> Tensor:
    """``(places, width)``: sines, then cosines, of each place at wavelengths from 2 pi to 20000 pi."""
    half = width // 2
    angles = torch.outer(
        torch.arange(places, dtype=torch.float64), 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    )
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def _table(rows: int, columns: int, width: int) -> Tensor:
    """``(1, rows * columns, width)``, row by row: the first half of the width tells the column, the second the row."""
    column, row = (_waves(places, width // 2) for places in (columns, rows))
    grid = torch.cat([column.expand(rows, -1, -1), row[:, None].expand(-1, columns, -1)], dim=2)
    return grid.flatten(0, 1)[None]


@dataclass(frozen=True)
class Student:
    """The weights in a file of EAT, SSLAM or FISHER.

    Attributes:
        weights: By the names of `PatchTransformer`, without teacher, decoder and classifier.
        settings: What the file, or the ``config.json`` beside it, says of the network.
        image: What it says of patches.
    """

    weights: Weights
    settings: dict[str, Any]
    image: dict[str, Any]

    def shape(self) -> TransformerShape:
        """Width, depth and heads.

        Raises:
            UserError: As `shape_of`, or the settings are those of another network.
        """
        for name, ours in _FIXED.items():
            for said in (self.settings, self.image):
                if said.get(name, ours) != ours:
                    raise UserError(
                        f"{self.weights.path} is of another network: {name} is {said[name]}, only {ours} is supported"
                    )
        return shape_of(self.weights, _EMBEDDING, self.settings.get("num_heads"))

    def columns(self) -> int | None:
        """How many columns the table of positions has, by its values; ``None``: there is none, or it tells nothing."""
        table = self.weights.state.get(TABLE)
        if table is None or table.ndim != 3 or table.shape[2] < 4 or not table.numel():
            return None
        # Sines of the column and of the row at the shortest wavelength: the second row begins at the first place of
        # column 0 and row 1.
        column, row = table[0, :, 0].float(), table[0, :, table.shape[2] // 2].float()
        begins = ((column.abs() < _NEAR) & ((row - math.sin(1)).abs() < _NEAR)).nonzero()
        return int(begins[0]) if len(begins) else None

    def load(self, into: nn.Module) -> None:
        """Load the weights into a `PatchTransformer`, strictly, in any precision."""
        load_strict(into, self.weights.state, self.weights.path)


def check_target_length(network: str, target_length: object, reach: int) -> None:
    """Raise `UserError` for a length that is neither ``auto`` nor a number of frames that positions reach."""
    if target_length != "auto" and not (isinstance(target_length, int) and PATCH <= target_length <= reach):
        raise UserError(f"{network}: target_length is {target_length}; give {PATCH} to {reach} frames, or auto")


def read_student(name_or_path: str, network: str) -> Student:
    """The weights in a file of fairseq's layout, or of the hub's, or in a folder of the hub.

    Args:
        name_or_path: As `asd.encoders.weights_cache.find`.
        network: What the network is called in messages.

    Raises:
        UserError: The file cannot be used, or is of another network.
    """
    path = _file(find(name_or_path))
    weights = weights_of(path, network, _IMAGE + _EMBEDDING, _EMBEDDING)
    beside = path.with_name("config.json")
    if not weights.settings("cfg", "model") and beside.is_file():
        said = _json(beside)
        weights = replace(weights, content={"cfg": said if "model" in said else {"model": said}})
    place: tuple[str, ...] = ("cfg", "model")
    # A fine-tuned file keeps what it was made from within its own settings.
    if weights.settings(*place, *_PRETRAINED):
        place += _PRETRAINED
    image = weights.settings(*place, "modalities", "image")
    return Student(replace(weights, state=from_authors(weights.state)), weights.settings(*place), image)


def classifier_of(name_or_path: str, network: str) -> nn.Sequential:
    """The classifier of a fine-tuned file: class tokens ``(B, D)`` to logits ``(B, C)``.

    Raises:
        UserError: As `read_student`; or the file has none.
    """
    path = _file(find(name_or_path))
    content = weights_of(path, f"a fine-tuned {network}", "fc_norm.weight")
    state = {key: value for key, value in content.state.items() if key.startswith(("fc_norm.", "head."))}
    classes, width = content.dims("head.weight", 2)
    # As in fairseq; the hub's code has an epsilon of 1e-5, by which logits differ in the fifth decimal.
    parts = {"fc_norm": nn.LayerNorm(width, eps=1e-6), "head": nn.Linear(width, classes)}
    load_strict(nn.ModuleDict(parts), state, path)
    return nn.Sequential(*parts.values())


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = path / "model.safetensors"
    if not file.is_file():
        raise UserError(f"{path} is a folder without model.safetensors; give the file of weights")
    return file


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names of `PatchTransformer`, the student's alone, whatever the layout."""
    renamed = {}
    for key, value in state.items():
        key = key.removeprefix(_IMAGE)
        if key.startswith(("_ema.", "decoder.", "fc_norm.", "head.")):
            continue
        key = key.replace("context_encoder.norm.", "pre_norm.").replace("fixed_positional_encoder.positions", TABLE)
        renamed[key] = value
    return renamed


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is no JSON of settings ({error}); get it again from where the weights are") from error
