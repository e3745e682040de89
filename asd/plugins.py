"""Discovery of plug-ins: a file in ``plugins/``, an entry point, or a dotted path. Import is the registration.

A plug-in that fails to import never breaks the program: its error is remembered and shown where it helps.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from asd.errors import UserError

ENTRY_POINT_GROUP = "asd.plugins"
FOLDERS_VARIABLE = "ASD_PLUGINS"
T = TypeVar("T")


@cache
def load_all() -> dict[str, Exception]:
    """Import every plug-in once; returns those that failed, by name, with their error."""
    failures: dict[str, Exception] = {}
    for name in _module_names():
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises must not stop the program
            failures[name] = error
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001
            failures[f"{entry.name} ({entry.value})"] = error
    return failures


def _module_names() -> list[str]:
    names = []
    package = importlib.import_module("asd_plugins")
    names += [f"asd_plugins.{info.name}" for info in pkgutil.iter_modules(package.__path__)]
    for folder in filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)):
        if not Path(folder).is_dir():
            raise UserError(
                f"{FOLDERS_VARIABLE}: no folder {folder}; set it to the folder that holds your plug-in files"
            )
        if folder not in sys.path:
            sys.path.append(folder)
        names += [info.name for info in pkgutil.iter_modules([folder])]
    return names


def known(base: type[T]) -> dict[str, type[T]]:
    """Every concrete subclass of `base` that has been imported, by class name, sorted."""
    load_all()
    found: dict[str, type[T]] = {}
    todo = list(base.__subclasses__())
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if not inspect.isabstract(one) and not one.__name__.startswith("_"):
            found[one.__name__] = one
    return dict(sorted(found.items()))


def resolve(name: str, base: type[T]) -> type[T]:
    """The class of that name or dotted path.

    Raises:
        UserError: Nothing of that name; lists what is known, the nearest name, and what failed to load and why.
    """
    classes = known(base)
    if name in classes:
        return classes[name]
    reason = ""
    if "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # noqa: BLE001 - the reason is passed on to the user
            reason = f" ({type(error).__name__}: {error})"
        else:
            if isinstance(found, type) and issubclass(found, base):
                return found
            reason = f" (it is not a subclass of {base.__module__}.{base.__name__})"
    near = difflib.get_close_matches(name.rpartition(".")[2], classes, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    failed = "".join(f" Failed to load: {key}: {type(e).__name__}: {e}." for key, e in load_all().items())
    raise UserError(
        f"unknown {base.__name__.lower()} {name!r}{reason}.{guess} Known: {', '.join(classes)}.{failed}".replace(
            "\n", " "
        )
    )
