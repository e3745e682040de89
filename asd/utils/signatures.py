"""What a class may be given, by its signature: the types of its arguments, taken apart."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any, get_args, get_origin, get_type_hints


def members(hint: Any) -> list[Any]:
    """The kinds of a union, or the one kind there is."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for one in get_args(hint) for kind in members(one)]
    return members(get_args(hint)[0]) if get_origin(hint) is typing.Annotated else [hint]


def of_items(kinds: list[Any]) -> Any:
    """The type of what is in a sequence of one of the `kinds`."""
    return _union([part for one in kinds for part in get_args(one) if part is not Ellipsis])


def of_values(kinds: list[Any]) -> Any:
    """The type of what a mapping of one of the `kinds` holds."""
    return _union([get_args(one)[-1] for one in kinds if len(get_args(one)) == 2])


def _union(hints: list[Any]) -> Any:
    return typing.Union[tuple(hints)] if hints else Any  # noqa: UP007 - of hints known at run time


def arguments(cls: type) -> dict[str, Any]:
    """The type of each argument of a class, those included that it passes on to its bases as ``**kwargs``."""
    hints: dict[str, Any] = {}
    for one in cls.__mro__:
        init = vars(one).get("__init__")
        if not inspect.isfunction(init):
            continue
        try:
            known = get_type_hints(init)
        except (NameError, TypeError):  # a name that is there for type checkers alone: its place has no contract then
            known = {}
        parameters = list(inspect.signature(init).parameters.values())[1:]
        named = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        hints = {name: known.get(name, Any) for name in named} | hints
        if all(each.kind != each.VAR_KEYWORD for each in parameters):
            break
    return hints
