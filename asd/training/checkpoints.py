"""What a checkpoint says of the detector in it, and how checkpoints are written and read."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch

from asd import plugins
from asd._version import __version__
from asd.described import Described
from asd.encoders.adapted import merged_weights, merges
from asd.encoders.adapter import Adapter
from asd.encoders.base import Encoder
from asd.encoders.pretrained import rebuilt
from asd.encoders.weights_file import check_sizes, read
from asd.errors import Notice, UserError
from asd.scoring.sections import SectionScorers
from asd.utils.files import is_plain, written

KEY = "asd"
SECTIONS = ("seed_everything", "trainer", "model", "data", "warmup", "checkpoint", "outputs")
_SCORING = ("scorer", "threshold")
_NEEDED = ("model", "data", "trainer")
_UNFETCHED = {"weights": None, "download": False}
RENAMED = {"checkpoint": "weights"}
"""Arguments of encoders: what earlier versions called them, and what they are called."""
_MEANT = {name: {"normalise": False, "align": "tokens"} for name in ("Fusion", "asd_plugins.fusion.Fusion")}
"""Arguments of encoders that earlier versions did not have, and what a run that lacks them means."""
_OLD_SECTIONS = "populations"
"""What earlier versions called the machines and sections."""

_NUMBERS = re.compile(r"\d+")


def describe(config: dict[str, Any] | None, classes: Sequence[str], sections: Sequence[str]) -> dict[str, Any]:
    """The entry of a checkpoint from which the detector can be built again: plain values alone."""
    return {"version": __version__, "config": config, "classes": list(classes), "sections": list(sections)}


def read_description(checkpoint: dict[str, Any], path: object = "the checkpoint") -> dict[str, Any]:
    """The entry that `describe` made, its parts of the right kinds; what the configuration says is not judged here.

    Raises:
        UserError: The checkpoint has none, or one that `describe` would not make.
    """
    described = checkpoint.get(KEY)
    if not isinstance(described, dict):
        raise UserError(f"{path} was not written by asd (it has no {KEY!r} entry); give a checkpoint of `asd fit`")
    config, classes = described.get("config"), described.get("classes")
    sections = described.get("sections", described.get(_OLD_SECTIONS))
    whole = config is None or (isinstance(config, dict) and all(isinstance(config.get(key), dict) for key in _NEEDED))
    if not whole or not _are_names(classes) or not _are_names(sections):
        raise UserError(f"{path}: what it says of its detector is broken; give a checkpoint that `asd fit` wrote")
    odd = [name for name in sections if not is_plain(name)]
    if odd:
        raise UserError(f"{path}: {odd[0][:100]!r} cannot be a machine's name; give a checkpoint that `asd fit` wrote")
    rest = {key: value for key, value in described.items() if key != _OLD_SECTIONS}
    return {**rest, "sections": sections, "config": None if config is None else of_today(config)}


def current_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by the names that the modules have in this version."""
    return {re.sub(r"^population\.", "sections.", key): value for key, value in state.items()}


def of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration, of whatever version, as this one says the same."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [renamed(one) for one in value]
        if not isinstance(value, dict):
            return value
        parts = {key: renamed(one) for key, one in value.items()}
        arguments, meant = parts.get("init_args"), _MEANT.get(str(parts.get("class_path")), {})
        if isinstance(arguments, dict) or (meant and arguments is None):
            arguments = {**meant, **(arguments or {})}
            old = {RENAMED[key]: arguments[key] for key in RENAMED if key in arguments}
            parts["init_args"] = {**old, **{key: one for key, one in arguments.items() if key not in RENAMED}}
        return parts

    model = config.get("model")
    if not isinstance(model, dict) or "encoder" not in model:
        return dict(config)
    return {**config, "model": {**model, "encoder": renamed(model["encoder"])}}


def _are_names(values: object) -> TypeGuard[Sequence[str]]:
    return isinstance(values, list | tuple) and all(isinstance(one, str) for one in values)


def is_newer(described: dict[str, Any]) -> bool:
    """Whether a newer version of asd wrote it."""
    then, now = (_NUMBERS.findall(str(version))[:3] for version in (described.get("version", ""), __version__))
    return [int(one) for one in then] > [int(one) for one in now]


def load(path: Path | str) -> dict[str, Any]:
    """A checkpoint of `asd fit`, on the CPU.

    Raises:
        UserError: Missing, truncated, foreign, or holding pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint {path}; give the .ckpt file in the checkpoints folder of a run")
    content = dict(read(path))
    described = content[KEY] = read_description(content, path)
    state = content.get("state_dict", {})
    if not isinstance(state, Mapping) or not all(
        isinstance(one, torch.Tensor) and one.layout == torch.strided and not one.is_meta for one in state.values()
    ):
        raise UserError(f"{path}: its weights are no tensors by name; give a checkpoint that `asd fit` wrote")
    check_sizes(state, path)
    content["state_dict"] = current_state(state)
    if is_newer(described):
        warnings.warn(
            f"{path} is of asd {described['version']}, newer than this {__version__}; if it fails, update asd",
            Notice,
            stacklevel=2,
        )
    return content


def save(checkpoint: dict[str, Any], path: Path | str) -> None:
    """Write a checkpoint beside its place, then rename it: whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    try:
        with written(Path(path)) as place:
            torch.save(checkpoint, place)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UserError(f"cannot write the checkpoint {path}: {reason}; free space or choose another folder") from error


def with_sections(
    content: dict[str, Any], scorers: SectionScorers, done: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of a checkpoint with other scorers and limits, and what was done in its history.

    Args:
        content: As `load` gives it.
        scorers: Of its machines, and of others.
        done: What is added to the history; ``None``: nothing.
    """
    weights = {key: value for key, value in content["state_dict"].items() if not key.startswith("sections.")}
    weights |= {f"sections.{key}": value for key, value in scorers.state_dict().items()}
    described = {**content[KEY], "sections": list(scorers.names)}
    if done is not None:
        described["history"] = [*history(described), dict(done)]
    return {**content, "state_dict": weights, KEY: described}


def with_budget(content: dict[str, Any], false_alarms: str | float) -> dict[str, Any]:
    """The content of a checkpoint whose threshold allows so many false alarms wherever it is set again.

    A threshold of one's own that takes no such argument stays as it is.
    """
    described = content[KEY]
    config = described["config"]
    if config is None:
        return content
    threshold = config["model"].get("threshold") or "asd.scoring.GammaThreshold"
    threshold = threshold if isinstance(threshold, dict) else {"class_path": threshold}
    cls = plugins.registered(str(threshold.get("class_path")), Described)
    if cls is None or "false_alarms" not in inspect.signature(cls).parameters:
        return content
    arguments = {**(threshold.get("init_args") or {}), "false_alarms": false_alarms}
    model = {**config["model"], "threshold": {**threshold, "init_args": arguments}}
    return {**content, KEY: {**described, "config": {**config, "model": model}}}


def history(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was done to a checkpoint after it was trained, oldest first; nothing where it says nothing of use."""
    found = described.get("history", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def with_band(config: dict[str, Any] | None, band: float | None) -> dict[str, Any] | None:
    """The configuration with the limit of the band, in Hz, that was found in the training data."""
    arguments = (config or {}).get("data", {}).get("init_args") or {}
    if config is None or arguments.get("band") != "shared":
        return config
    return {**config, "data": {**config["data"], "init_args": {**arguments, "band": band}}}


def scoring_differs(then: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    """Whether scorer, threshold or what is scored are configured otherwise than when the checkpoint was written."""
    if then is None or now is None:
        return False
    parts = [
        [*(_spelt_out(one["model"].get(key)) for key in _SCORING), _embedding(one["model"])] for one in (then, now)
    ]
    return parts[0] != parts[1]


def _embedding(model: dict[str, Any]) -> dict[str, Any]:
    """What of the adapter, apart from its weights, makes an embedding."""
    given = model.get("adapter")
    adapter = _spelt_out(given if isinstance(given, dict) else {"class_path": f"{Adapter.__module__}.Adapter"})
    return {key: one for key, one in (adapter.get("init_args") or {}).items() if key != "dropout"}


def _spelt_out(value: Any) -> Any:
    """A part of a configuration with the defaults of all that it does not say, such as options newer than it."""
    if isinstance(value, list | tuple):
        return [_spelt_out(one) for one in value]
    if not isinstance(value, dict):
        return value
    cls = plugins.registered(str(value.get("class_path")), Described)
    if cls is None:
        return {key: _spelt_out(one) for key, one in value.items()}
    usual = {
        name: one.default for name, one in inspect.signature(cls).parameters.items() if one.default is not one.empty
    }
    arguments = {**usual, **(value.get("init_args") or {})}
    return {**value, "init_args": {key: _spelt_out(one) for key, one in arguments.items()}}


def merged(checkpoint: dict[str, Any], encoder: Encoder) -> dict[str, Any]:
    """The checkpoint with `encoder`, or those within it, merged: weights, and the configuration of what they held."""
    described = dict(checkpoint[KEY])
    if described["config"] is not None:
        model = described["config"]["model"]
        model = {**model, "encoder": rebuilt(model["encoder"], encoder, _unwrapped)}
        described["config"] = {**described["config"], "model": model}
    return {**checkpoint, "state_dict": merged_weights(checkpoint["state_dict"], encoder, "encoder"), KEY: described}


def _unwrapped(said: dict[str, Any], module: object) -> Any:
    return said["init_args"]["encoder"] if merges(module) else said


def without_weights_files(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with no weights to load from a file or a hub: the checkpoint holds the weights."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _UNFETCHED[key] if key in _UNFETCHED else strip(one) for key, one in value.items()}
        return [strip(one) for one in value] if isinstance(value, list | tuple) else value

    return {**config, "model": {**config["model"], "encoder": strip(config["model"].get("encoder"))}}
