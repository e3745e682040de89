"""Reading files of published weights without running what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asd.errors import UserError


def read(path: Path) -> Mapping[str, Any]:
    """The content of a ``.safetensors`` file or of a file of `torch.save`, on the CPU.

    Raises:
        UserError: The file is truncated, of another format, or holds pickled code.
    """
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = " ".join(str(error).split())
        if "weights_only" in said or "Unsupported" in said:
            raise UserError(
                f"{path} holds pickled code, which is not run; get it from its authors or convert it to safetensors"
            ) from error
        raise UserError(f"{path} cannot be read as weights, it may be cut short: {said[:120]}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name")
    return content


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load `state`, which must have the keys and shapes of `module`, no more and no fewer.

    Raises:
        UserError: Keys are missing or left over, or a shape is another; the first of them are named.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    spare = sorted(state.keys() - own.keys())
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing:
        raise UserError(f"{path}: no key {_few(missing)}; the file is of another model or size")
    if spare:
        raise UserError(f"{path}: unexpected key {_few(spare)}; the file is of another model or size")
    if shapes:
        key = min(shapes)
        raise UserError(
            f"{path}: {key} is of shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}; the file is of "
            "another size of the model"
        )
    module.load_state_dict(dict(state))


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
