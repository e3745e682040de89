"""Build a detector again from what its checkpoint says, without a trainer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jsonargparse
from torch import Tensor, nn

from asd import plugins
from asd.errors import UserError
from asd.run_folder import checkpoint_at
from asd.training import checkpoints
from asd.training.network import Network
from asd.trust import trusted_arguments
from asd.utils.sizes_alone import sizes_alone

_SPARE_NUMBERS, _SPARE_TENSORS = 10_000_000, 10_000
"""What a network may have beside what its checkpoint holds."""

_TRAINING = ("mixup", "exchange", "optimizer", "compile")
"""Arguments of the detector that only training needs."""


def restore(path: Path | str) -> tuple[Network, dict[str, Any]]:
    """The detector of a checkpoint of `asd fit`, in evaluation mode on the CPU, and its configuration.

    Raises:
        UserError: The file is no such checkpoint, keeps no configuration, or needs a plug-in that is not there.
    """
    path = checkpoint_at(path)
    content = checkpoints.load(path)
    described = checkpoints.read_description(content, path)
    config = described["config"]
    if config is None:
        raise UserError(f"{path} keeps no configuration: it was not written by `asd fit`; build the detector in Python")
    config = checkpoints.without_weights_files(config)
    failed = plugins.load_all()
    try:
        detector = buildable(config["model"], content.get("state_dict", {}))()
    except Exception as error:  # whatever a class makes of what a file says
        broken = "".join(f" Failed to load: {name}: {one}." for name, one in failed.items())
        newer = f" It is of asd {described['version']}: update asd." if checkpoints.is_newer(described) else ""
        raise UserError(
            f"{path} cannot be built again: {' '.join(str(error).split())[:400]}.{broken}{newer} Is its plug-in there?"
        ) from error
    detector.config = config
    detector.build_as_in(content)
    try:
        detector.load_state_dict(content["state_dict"])
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: its weights do not fit its configuration ({reason}); give one of `asd fit`"
        ) from error
    return detector.eval(), config


def buildable(config: Any, state: Mapping[str, Tensor], named: Collection[str] = ()) -> Callable[[], Network]:
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
    parser.add_class_arguments(Network, "model")
    if isinstance(config, Mapping):
        config = {name: value for name, value in config.items() if name not in _TRAINING}
    given = parser.parse_object({"model": trusted_arguments(config, Network, "model", named)})

    def build() -> Network:
        model: Network = parser.instantiate_classes(given)["model"]
        return model

    _check_size(build, state)
    return build


def _check_size(build: Callable[[], Network], state: Mapping[str, Tensor]) -> None:
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
        with sizes_alone():
            build()
    except (NotImplementedError, RuntimeError):  # it computes with values while it is built, or cannot be built
        return
    finally:
        for hook in hooks:
            hook.remove()
