"""A part of a detector from what a configuration says of it: a class by its name, and its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from asd.errors import UserError
from asd.plugins import noun
from asd.trust import trusted_class

T = TypeVar("T")


def configured(spec: Any, base: type[T], importing: bool = False) -> T:
    """A `base`, such as a scorer or a threshold, from its class name, or from ``class_path`` and ``init_args``.

    Args:
        spec: What names it, and the parts inside it.
        base: The contract that it must be of.
        importing: Import the modules of dotted paths: for what the user named, not for what stands in a file.

    Raises:
        UserError: A class that is not known or not of its contract, or arguments that it does not take.
    """
    import jsonargparse

    kind = noun(base)
    vetted = trusted_class(spec, base, kind, set(_texts(spec)) if importing else ())
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, kind)
    try:
        made: T = parser.instantiate_classes(parser.parse_object({kind: vetted}))[kind]
    except UserError:
        raise
    except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
        name = vetted["class_path"].rpartition(".")[2]
        raise UserError(f"{kind} {name}: {' '.join(str(error).split())[:400]}") from error
    return made


def _texts(value: Any) -> Iterator[str]:
    """Whatever may be a class's name."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _texts(part)
