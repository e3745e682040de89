"""Names under which configuration files and checkpoints of earlier versions know our classes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PACKAGES = {
    "asd.averaging": "asd.training",
    "asd.callbacks": "asd.training",
    "asd.checkpoint": "asd.training",
    "asd.deploy": "asd.inference",
    "asd.detector": "asd.training",
    "asd.encoders.warmup": "asd.training",
    "asd.optim": "asd.training",
}
"""Where what stood elsewhere stands now; whatever a package names for all keeps its name there."""

_DOORS = {"asd.data", "asd.encoders", "asd.evaluation", "asd.heads", "asd.inference", "asd.scoring", "asd.training"}
"""Nothing else is imported because a file names it."""


def current(path: str) -> str:
    """The dotted path of today for one of ours: ``asd.data.own.Recordings`` is ``asd.data.Recordings`` now.

    A path that nothing is known of, or that is not ours, is returned as it is.
    """
    parts = path.split(".")
    if parts[0] != "asd" or len(parts) < 3:
        return path
    package, module = ".".join(parts[:2]), ".".join(parts[:-1])
    door, name = _PACKAGES.get(module) or _PACKAGES.get(package, package), parts[-1]
    if door not in _DOORS:
        return path
    public = import_module(door).__all__
    return f"{door}.{name}" if name in public else path


def with_current(value: Any) -> Any:
    """A configuration with the classes that it names where they are now."""
    if isinstance(value, dict):
        return {
            key: current(one) if key == "class_path" and isinstance(one, str) else with_current(one)
            for key, one in value.items()
        }
    return [with_current(one) for one in value] if isinstance(value, list) else value
