"""What a configuration that came out of a file may ask for: values, and registered classes where a contract is due.

jsonargparse takes any importable name wherever a class is due, functions as well, and reads text as YAML where anything
is allowed. So whatever a checkpoint says goes through here before it is parsed: each class must be registered (ours, a
plug-in's, an entry point's, or named by the user) and of the contract of its place. Nothing is imported or called.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_origin

from asd import plugins
from asd.errors import UserError
from asd.moved import current
from asd.utils.signatures import arguments, members, of_items, of_values
from asd.utils.yaml_file import holds_structure

_SPEC = {"class_path", "init_args"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None), list, dict, tuple, set, Path, timedelta, object)


def trusted_class(given: Any, base: type, place: str, named: Collection[str] = ()) -> dict[str, Any]:
    """A class and its arguments, as `class_path` and `init_args`, that may stand where a `base` is due.

    Args:
        given: As it stands in the file.
        base: The contract of the place.
        place: What the place is called in messages.
        named: Dotted paths of classes that the user named.

    Raises:
        UserError: No class, one that is not registered or of another contract, or arguments that it may not have.
    """
    return _class(given, [base], place, frozenset(named))


def trusted_arguments(given: Any, cls: type, place: str, named: Collection[str] = ()) -> dict[str, Any]:
    """Arguments for a `cls`; errors as for `trusted_class`."""
    if not isinstance(given, Mapping):
        raise UserError(f"{place} is a {type(given).__name__} where arguments by name are due")
    hints = arguments(cls)
    unknown = sorted(str(name) for name in given if name not in hints)
    if unknown:
        raise UserError(
            f"{place}: {cls.__name__} has no argument {', '.join(unknown)[:100]}; it has {', '.join(hints) or 'none'}"
        )
    return {name: _value(one, hints[name], f"{place}.{name}", frozenset(named)) for name, one in given.items()}


def _class(given: Any, bases: list[type], place: str, named: frozenset[str]) -> dict[str, Any]:
    spec = {"class_path": given} if isinstance(given, str) else given
    if not isinstance(spec, Mapping) or not _SPEC.issuperset(spec) or not isinstance(spec.get("class_path"), str):
        raise UserError(
            f"{place}: a class is given by class_path and init_args, and nothing else; got {str(given)[:100]}"
        )
    path = spec["class_path"]
    found = next(filter(None, (_registered(path, base, named) for base in bases)), None)
    if found is None:
        wanted = " or ".join(base.__name__ for base in bases) or "class, for its place has no contract"
        near = next(filter(None, (plugins.nearest(path, base) for base in bases)), None)
        raise UserError(
            f"{place} names {path[:100]!r}, which is no registered {wanted}.{f' Did you mean {near}?' if near else ''} "
            f"Where it is yours and you trust it, put its file into a folder that {plugins.FOLDERS_VARIABLE} names, or "
            "give --plugin and its module"
        )
    # As it stands there, where it is a path: what was kept is compared with what a run is given.
    whole = {"class_path": current(path) if "." in path else f"{found.__module__}.{found.__qualname__}"}
    if spec.get("init_args") is None:
        return whole
    return {**whole, "init_args": trusted_arguments(spec["init_args"], found, place, named)}


def _registered(path: str, base: type, named: frozenset[str]) -> type | None:
    if path in named:
        return plugins.resolve(path, base)
    return plugins.registered(path, base)


def _value(given: Any, hint: Any, place: str, named: frozenset[str]) -> Any:
    """A value whose place has the type `hint`, made of plain parts alone."""
    kinds = members(hint)
    contracts = contracts_among(kinds)
    if isinstance(given, Mapping):
        return _mapping(given, kinds, contracts, place, named)
    if isinstance(given, list | tuple):
        inner = of_items(kinds)
        return [_value(one, inner, f"{place}[{number}]", named) for number, one in enumerate(given)]
    if isinstance(given, str):
        return _text(given, kinds, contracts, place, named)
    if given is None or isinstance(given, bool | int | float):
        return given
    raise UserError(f"{place} holds a {type(given).__name__}, which no configuration has")


def _mapping(
    given: Mapping[Any, Any], kinds: list[Any], contracts: list[type], place: str, named: frozenset[str]
) -> dict[str, Any]:
    record = next((one for one in kinds if dataclasses.is_dataclass(one)), None)
    if "class_path" in given or (contracts and record is None):
        return _class(given, contracts, place, named)
    if isinstance(record, type):
        return trusted_arguments(given, record, place, named)
    # Dots would reach into other places once they are parsed.
    odd = [key for key in given if not isinstance(key, str) or "." in key or key in ("init_args", "dict_kwargs")]
    if odd:
        raise UserError(f"{place}: {str(odd[0])[:100]!r} is no name of a value")
    inner = of_values(kinds)
    return {key: _value(one, inner, f"{place}.{key}", named) for key, one in given.items()}


def _text(given: str, kinds: list[Any], contracts: list[type], place: str, named: frozenset[str]) -> Any:
    anything = any(one in (Any, object) for one in kinds)
    textual = is_textual(kinds)
    if contracts and not textual:
        return _class(given, contracts, place, named)
    if not (anything or textual) or (anything and holds_structure(given)):
        raise UserError(f"{place} is {given[:100]!r}, which cannot stand there")
    return given


def contracts_among(kinds: list[Any]) -> list[type]:
    """Those of the kinds of a place that a class may be named for."""
    return [one for one in kinds if isinstance(one, type) and not _is_plain(one) and plugins.is_contract(one)]


def is_textual(kinds: list[Any]) -> bool:
    """Whether text may stand in the place for itself, not for a class."""
    return any(one in (str, Path) or get_origin(one) is Literal or _is_enum(one) for one in kinds)


def _is_plain(kind: type) -> bool:
    return (
        kind is Any
        or kind in _PLAIN
        or dataclasses.is_dataclass(kind)
        or _is_enum(kind)
        or get_origin(kind) is not None
    )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)
