"""Objects that remember what they were made from, so that a file can say how to make them again."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from asd.moved import current


class Described:
    """Base of what a configuration may name: keeps the arguments that an instance was made with.

    They are what was given, with the defaults for the rest; an instance that was copied or unpickled has its own.
    """

    _arguments: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Say what the arguments of the class are, which `__new__` takes whatever they are."""
        super().__init_subclass__(**kwargs)
        own = inspect.signature(cls.__init__)
        cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments; what they mean is for ``__init__`` to judge."""
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        except TypeError:  # of a copy, or arguments that __init__ refuses
            return made
        bound.apply_defaults()
        # Of a module without a constructor the signature is that of torch: any arguments, and there are none.
        names = [
            one
            for one in list(bound.signature.parameters.values())[1:]
            if one.kind != one.VAR_POSITIONAL or bound.arguments[one.name]
        ]
        given = {one.name: bound.arguments[one.name] for one in names if one.kind != one.VAR_KEYWORD}
        for one in names:
            given |= bound.arguments[one.name] if one.kind == one.VAR_KEYWORD else {}
        object.__setattr__(made, "_arguments", given)
        return made


def described(value: Any) -> Any:
    """A value as plain data, as a configuration has it: a `Described` object becomes ``class_path`` and ``init_args``.

    Raises:
        TypeError: It holds something that plain data cannot say.
    """
    if isinstance(value, Described) and "_arguments" in vars(value):
        arguments = {name: described(given) for name, given in vars(value)["_arguments"].items()}
        return {"class_path": _path_of(type(value)), "init_args": arguments}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, enum.Enum):
        return described(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: described(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): described(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [described(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be described; give plain values, or a class of its own")


def _path_of(cls: type) -> str:
    if cls.__qualname__ != cls.__name__:
        raise TypeError(f"{cls.__qualname__} is no class of a module, so no file can name it")
    return current(f"{cls.__module__}.{cls.__qualname__}")
