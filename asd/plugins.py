"""Discovery of plug-ins: a file in ``plugins/``, an entry point, or a dotted path. Import is the registration.

A plug-in that fails to import never breaks the program: its error is remembered and shown where it helps.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from asd.errors import UserError
from asd.moved import current

ENTRY_POINT_GROUP = "asd.plugins"
FOLDERS_VARIABLE = "ASD_PLUGINS"
T = TypeVar("T")
_OURS = ("asd", "asd_plugins")
_DOORS = ("asd.data", "asd.encoders", "asd.heads", "asd.scoring", "asd.training")
_DOORS_OF_OTHERS = ("asd.encoders", "asd.training")
"""Where our classes of contracts that are not ours stand, such as callbacks."""


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


def load(module: str) -> None:
    """Import a module that the user names, also one in the folder they are in: what it defines is registered then.

    Raises:
        UserError: It cannot be imported.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        importlib.import_module(module)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--plugin {module} cannot be imported ({type(error).__name__}: {reason})") from error


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
    """Every class that may stand where a `base` is due, ours and those of plug-ins, by class name, sorted."""
    load_all()
    _open_doors(base)
    found = {one.__name__: one for one in _choices(base) if not one.__name__.startswith("_")}
    return dict(sorted(found.items()))


def load_ours() -> None:
    """Import every class of ours that a configuration may name."""
    _open(_DOORS)


def _open_doors(base: type, name: str = "") -> None:
    """Import our own classes of a contract, which packages else import when they are asked for.

    Where one has the name, it alone: the others may import much that nobody needs who names one.
    """
    own = base.__module__.split(".")
    _open([".".join(own[:2])] if own[0] == "asd" else _DOORS_OF_OTHERS, name)


def _open(doors: Iterable[str], name: str = "") -> None:
    for door in doors:
        package = importlib.import_module(door)
        names = getattr(package, "__all__", ())
        for one in [name] if name in names else names:
            getattr(package, one)


def _choices(base: type[T]) -> Iterator[type[T]]:
    """Itself and its subclasses, those that are not abstract."""
    todo = [base]
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if not inspect.isabstract(one):
            yield one


def is_contract(base: type) -> bool:
    """Whether a class is narrow enough for a file to name a subclass of it: `torch.nn.Module` is not."""
    return base.__module__.partition(".")[0] in (*_OURS, "lightning") or base.__module__ in _module_names()


def registered(path: str, base: type[T]) -> type[T] | None:
    """The class of that name or dotted path, of those that are there already: nothing but ours is imported for it.

    Of a contract that is not ours, such as that of callbacks, our classes and those of plug-ins alone count.
    """
    load_all()
    module, _, name = current(path).rpartition(".")
    there = None
    if module.startswith("asd.") and "_" not in (part[:1] for part in module.split(".")):
        with contextlib.suppress(ImportError, AttributeError):
            there = getattr(importlib.import_module(module), name)
    elif module in sys.modules:
        there = vars(sys.modules[module]).get(name)
    elif not module:
        _open_doors(base, name)
    for one in _choices(base):
        ours = any(cls.__module__.partition(".")[0] in _OURS for cls in (base, one))
        if (ours or one.__module__ in _module_names()) and (one is there or (not module and one.__name__ == name)):
            return one
    return None


def resolve(name: str, base: type[T], importing: bool = True) -> type[T]:
    """The class of that name or dotted path.

    Args:
        name: What it is called.
        base: What it must be a subclass of.
        importing: Import the module of a dotted path; else it must be registered already.

    Raises:
        UserError: Nothing of that name; lists what is known, the nearest name, and what failed to load and why.
    """
    there = registered(name, base)
    if there is not None:
        return there
    classes = known(base)
    if importing and name in classes:
        return classes[name]
    reason = ""
    if "." in name and not importing:
        reason = " (a file may name registered classes alone)"
    elif "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # noqa: BLE001 - the reason is passed on to the user
            reason = f" ({type(error).__name__}: {error})"
        else:
            if isinstance(found, type) and issubclass(found, base):
                return found
            reason = f" (it is not a subclass of {base.__module__}.{base.__name__})"
    near = nearest(name, base)
    guess = f" Did you mean {near}?" if near else ""
    failed = "".join(f" Failed to load: {key}: {type(e).__name__}: {e}." for key, e in load_all().items())
    raise UserError(
        f"unknown {noun(base)} {name!r}{reason}.{guess} Known: {', '.join(classes)}.{failed}".replace("\n", " ")
    )


def noun(base: type) -> str:
    """What messages call a class of that contract: ``threshold``, ``data module``."""
    words = re.findall(r"[A-Z][a-z]*", base.__name__)
    if any(len(word) == 1 for word in words):  # of an acronym
        return base.__name__
    return " ".join(words).lower().removeprefix("clip ")


def nearest(name: str, base: type) -> str | None:
    """The class that was most likely meant, also where the word for its kind was left out: Gama, GammaThreshold."""
    kind = base.__name__.casefold()
    spelt = {form: one for one in known(base) for form in (one.casefold(), one.casefold().removesuffix(kind))}
    near = difflib.get_close_matches(name.rpartition(".")[2].casefold(), spelt, n=1, cutoff=0.5)
    return spelt[near[0]] if near else None
