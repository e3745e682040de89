"""A part of a detector from what a configuration says of it: a class by its name, and its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from asd.errors import UserError
from asd.plugins import noun
from asd.trust import trusted_class

T = TypeVar("T")
_PLACE = "part"


def configured(spec: Any, base: type[T], importing: bool = False) -> T:
    """A `base`, such as a scorer or a threshold, from its class name, or from ``class_path`` and ``init_args``.

    Args:
        spec: What names it, and the parts inside it.
        base: The contract that it must be of.
        importing: Import the modules of dotted paths: for what the user named, not for what stands in a file.

    Raises:
        UserError: A class that is not known or not of its contract, or arguments that it does not take.
    """
    with _parsed(spec, base, importing) as (parser, given):
        made: T = parser.instantiate_classes(given)[_PLACE]
    return made


def completed(spec: Any, base: type[Any], importing: bool = False) -> dict[str, Any]:
    """What `configured` would build, as plain data and without building it: with the defaults of all arguments."""
    import yaml

    with _parsed(spec, base, importing) as (parser, given):
        whole: dict[str, Any] = yaml.safe_load(parser.dump(given, skip_none=False))[_PLACE]
    return whole


@contextlib.contextmanager
def _parsed(spec: Any, base: type[Any], importing: bool) -> Iterator[tuple[Any, Any]]:
    """The parser of a `base` and what it makes of a spec; its errors, also those of building, become `UserError`."""
    import jsonargparse

    kind = noun(base)
    vetted = trusted_class(spec, base, kind, set(_texts(spec)) if importing else ())
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, _PLACE)
    try:
        yield parser, parser.parse_object({_PLACE: vetted})
    except UserError:
        raise
    except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
        name = vetted["class_path"].rpartition(".")[2]
        reason = " ".join(str(_reason(error)).split())[:400].removeprefix(f"{name}: ")
        raise UserError(f"{kind} {name}: {reason}") from error


def _reason(error: BaseException) -> BaseException:
    """What was wrong, out of what jsonargparse says around it: our own error, or else the argument that it names."""
    import jsonargparse

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    ours: list[BaseException] = [one for one in causes if isinstance(one, UserError)]
    named = [one for one in causes if isinstance(one, jsonargparse.ArgumentError)]
    return (ours[:1] or named[-1:] or causes)[0]


def _texts(value: Any) -> Iterator[str]:
    """Whatever may be a class's name."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _texts(part)
