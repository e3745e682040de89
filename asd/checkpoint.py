"""What a checkpoint says of the detector in it, and how checkpoints are written and read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from asd import __version__
from asd.encoders.base import Encoder
from asd.errors import UserError

KEY = "asd"
SECTIONS = ("seed_everything", "trainer", "model", "data", "warmup", "checkpoint", "outputs")
_SCORING = ("scorer", "threshold")


def describe(config: dict[str, Any] | None, classes: Sequence[str], populations: Sequence[str]) -> dict[str, Any]:
    """The entry of a checkpoint from which the detector can be built again: plain values alone."""
    return {"version": __version__, "config": config, "classes": list(classes), "populations": list(populations)}


def read_description(checkpoint: dict[str, Any], path: object = "the checkpoint") -> dict[str, Any]:
    """The entry that `describe` made.

    Raises:
        UserError: The checkpoint has none.
    """
    described = checkpoint.get(KEY)
    if not isinstance(described, dict):
        raise UserError(f"{path} was not written by asd (it has no {KEY!r} entry); give a checkpoint of `asd fit`")
    return described


def load(path: Path | str) -> dict[str, Any]:
    """A checkpoint of `asd fit`, on the CPU.

    Raises:
        UserError: Missing, truncated, foreign, or holding pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint {path}; give the .ckpt file in the checkpoints folder of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read as a checkpoint ({type(error).__name__}: {reason})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint of `asd fit`")
    read_description(content, path)
    return content


def scoring_differs(then: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    """Whether scorer or threshold are configured otherwise than when the checkpoint was written."""
    if then is None or now is None:
        return False
    return any(then["model"].get(key) != now["model"].get(key) for key in _SCORING)


def merged(checkpoint: dict[str, Any], encoder: Encoder) -> dict[str, Any]:
    """The checkpoint with `encoder` in its merged form: its weights, and the configuration of what it wraps."""
    plain = encoder.merged()
    weights = {key: value for key, value in checkpoint["state_dict"].items() if not key.startswith("encoder.")}
    weights |= {f"encoder.{key}": value for key, value in plain.state_dict().items()}
    described = dict(checkpoint[KEY])
    if described["config"] is not None:
        model = described["config"]["model"]
        inner = model["encoder"]["init_args"]["encoder"]
        described["config"] = {**described["config"], "model": {**model, "encoder": inner}}
    return {**checkpoint, "state_dict": weights, KEY: described}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it: a half-written file is never taken for a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.{os.getpid()}.part")
        try:
            torch.save(checkpoint, aside)
            os.replace(aside, place)  # noqa: PTH105 - replaces the old file in one step
        except (OSError, RuntimeError) as error:
            aside.unlink(missing_ok=True)
            raise UserError(
                f"cannot write the checkpoint {place}: {error}; free space or choose another folder"
            ) from error


def without_weights_files(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with no file of pre-trained weights to load: the checkpoint holds the weights."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: None if key == "checkpoint" else strip(one) for key, one in value.items()}
        return [strip(one) for one in value] if isinstance(value, list) else value

    return {**config, "model": {**config["model"], "encoder": strip(config["model"]["encoder"])}}
