"""Build a detector, and the data it was trained on, again from what its checkpoint says, without a trainer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from torch import Tensor, nn

from asd import plugins
from asd.data.datamodule import ClipDataModule
from asd.errors import UserError
from asd.training import checkpoints as kept
from asd.training.module import AnomalyDetector
from asd.trust import trusted_arguments, trusted_class

_SPARE_NUMBERS, _SPARE_TENSORS = 10_000_000, 10_000
"""What a network may have beside what its checkpoint holds."""

_AWAY = re.compile(r"://|^[\\/]{2}")
"""Addresses, and the shares of a network, which a path on Windows may name."""


def restore(path: Path | str) -> tuple[AnomalyDetector, dict[str, Any]]:
    """The detector of a checkpoint of `asd fit`, in evaluation mode on the CPU, and its configuration.

    Raises:
        UserError: The file is no such checkpoint, keeps no configuration, or needs a plug-in that is not there.
    """
    path = kept.path_of(path)
    content = kept.load(path)
    described = kept.read_description(content, path)
    config = described["config"]
    if config is None:
        raise UserError(f"{path} keeps no configuration: it was not written by `asd fit`; build the detector in Python")
    config = kept.without_weights_files(config)
    failed = plugins.load_all()
    try:
        detector = buildable(config["model"], content.get("state_dict", {}))()
    except Exception as error:  # whatever a class makes of what a file says
        broken = "".join(f" Failed to load: {name}: {one}." for name, one in failed.items())
        newer = f" It is of asd {described['version']}: update asd." if kept.is_newer(described) else ""
        raise UserError(
            f"{path} cannot be built again: {' '.join(str(error).split())[:400]}.{broken}{newer} Is its plug-in there?"
        ) from error
    detector.config = config
    detector.on_load_checkpoint(content)
    try:
        detector.load_state_dict(content["state_dict"])
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: its weights do not fit its configuration ({reason}); give one of `asd fit`"
        ) from error
    return detector.eval(), config


def buildable(config: Any, state: Mapping[str, Tensor], named: Collection[str] = ()) -> Callable[[], AnomalyDetector]:
    """What builds the detector of a configuration, once it is known to ask for no more than the weights beside it.

    Args:
        config: Arguments of the detector, as a checkpoint has them.
        state: Its weights.
        named: Dotted paths of classes that the user named.

    Raises:
        UserError: See `asd.trust.trusted_arguments`; or a network far larger than its weights.
        jsonargparse.ArgumentError: Arguments that a class does not take.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AnomalyDetector, "model")
    given = parser.parse_object({"model": trusted_arguments(config, AnomalyDetector, "model", named)})

    def build() -> AnomalyDetector:
        model: AnomalyDetector = parser.instantiate_classes(given)["model"]
        return model

    _check_size(build, state)
    return build


def _check_size(build: Callable[[], AnomalyDetector], state: Mapping[str, Tensor]) -> None:
    """Raise `UserError` for a configuration of a network far larger than the weights beside it, before it is built."""
    held, tensors = sum(one.numel() for one in state.values()), len(state)
    asked = count = 0

    def add(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal asked, count
        asked, count = asked + (0 if tensor is None else tensor.numel()), count + 1
        if asked > 2 * held + _SPARE_NUMBERS or count > 2 * tensors + _SPARE_TENSORS:
            raise UserError(f"it asks for a network far larger than the {held:,} numbers beside it")

    hooks = [nn.modules.module.register_module_parameter_registration_hook(add)]
    hooks.append(nn.modules.module.register_module_buffer_registration_hook(add))
    try:
        with torch.device("meta"):  # shapes alone
            build()
    except (NotImplementedError, RuntimeError):  # it computes with values while it is built, or cannot be built
        return
    finally:
        for hook in hooks:
            hook.remove()


def data_of(config: dict[str, Any], sample_rate: int, root: Path | str | None = None) -> ClipDataModule:
    """The data module of a configuration, set up for testing.

    Args:
        config: As `restore` returns it.
        sample_rate: Hz of the encoder.
        root: Where the data lies now; ``None``: where it lay.

    Raises:
        UserError: The data cannot be listed, its class is not known, or it lies at an address that nobody gave but the
            configuration.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ClipDataModule, "data")
    try:
        given, dropped = trusted_data(config["data"])
        if root is not None:
            given["init_args"]["root"] = str(root)
        elif dropped:
            raise UserError(f"they lie at {dropped[0]}, which is not opened because a file says so; give --data ROOT")
        data: ClipDataModule = parser.instantiate_classes(parser.parse_object({"data": given}))["data"]
    except Exception as error:
        raise UserError(f"the data cannot be built again: {' '.join(str(error).split())[:400]}") from error
    data.sample_rate = sample_rate
    data.setup("test")
    return data


def trusted_data(given: Any, named: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The data module that a checkpoint names, without what would be written or asked for elsewhere because it says so.

    Returns:
        Class path and arguments, and the addresses that were left out.

    Raises:
        UserError: See `asd.trust.trusted_class`.
    """
    spec = trusted_class(given, ClipDataModule, "data", named)
    arguments = spec.get("init_args", {})
    away = {name: one for name, one in arguments.items() if isinstance(one, str) and _AWAY.search(one)}
    kept_here = {name: one for name, one in arguments.items() if name not in away}
    return {**spec, "init_args": {**kept_here, "disk_cache": None}}, list(away.values())
