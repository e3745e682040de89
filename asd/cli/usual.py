"""Options of a part whose class nobody names: ``--model.scorer.k 8`` means the scorer that a detector has anyway."""

from __future__ import annotations

import json
from collections.abc import Mapping

from asd.cli.arguments import CONFIG_FLAGS, options, read_mapping
from asd.moved import current
from asd.training.network import USUAL


def with_usual_classes(arguments: list[str]) -> list[str]:
    """The arguments with the class of each part of the model that is given options but no class.

    The parser would not know whose options they are: the argument's type is abstract, and its default nothing.
    """
    found = list(options(arguments, CONFIG_FLAGS))
    end = max((at + length for at, length, _ in found), default=1)
    models = [read_mapping(path).get("model") for _, _, path in found]
    before, after = [], []
    for name, cls in USUAL.items():
        path = current(f"{cls.__module__}.{cls.__qualname__}")
        flag = f"--model.{name}"
        # What each config that says something of this part says of it.
        parts = [model[name] for model in models if isinstance(model, Mapping) and name in model]
        if parts and isinstance(parts[0], Mapping) and "class_path" not in parts[0]:
            before.append(f"--config={json.dumps({'model': {name: {'class_path': path}}})}")
        named = any(one.partition("=")[0] in (flag, f"{flag}.class_path") for one in arguments)
        if not named and (not parts or parts[-1] is None) and any(one.startswith(f"{flag}.") for one in arguments):
            after.append(f"{flag}={path}")
    return [arguments[0], *before, *arguments[1:end], *after, *arguments[end:]]
