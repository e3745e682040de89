"""How a contract is checked, whatever it is a contract of."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar


class _Excusable(Protocol):
    @property
    def expected_failures(self) -> dict[str, str]: ...


T = TypeVar("T", bound=_Excusable)
Check = Callable[[T], None]


def name_of(check: Callable[..., None]) -> str:
    """What `expected_failures` calls a check: ``shapes`` for ``check_shapes``."""
    return check.__name__.removeprefix("check_")


def run_checks(checks: Iterable[Check[T]], thing: T) -> None:
    """Run every check on `thing`, which is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    for check in checks:
        run_check(check, thing)


def run_check(check: Check[T], thing: T) -> None:
    """Run one check, and insist on failure where `thing` says that it cannot pass it."""
    name = name_of(check)
    reason = thing.expected_failures.get(name)
    kind = type(thing).__name__
    try:
        check(copy.deepcopy(thing))
    except Exception as error:
        if reason is None:
            raise AssertionError(f"{kind}: {name}: {error}") from error
        return
    assert reason is None, f"{kind} passes {name}; take it out of expected_failures ({reason})"


def check_excuses(thing: _Excusable, checks: Iterable[Callable[..., None]]) -> None:
    """Every excuse is of a check that there is, and has a reason."""
    unknown = set(thing.expected_failures) - {name_of(check) for check in checks}
    assert not unknown, f"expected_failures names no check: {', '.join(sorted(unknown))}"
    assert all(thing.expected_failures.values()), "expected_failures gives no reason"


def _arguments(cls: type) -> list[str]:
    """Names of what a class takes; a module without a constructor would take anything."""
    parameters = inspect.signature(cls).parameters.values()
    return [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def check_described(cls: type) -> None:
    """Every argument of a class is described in its docstring."""
    shown = set(re.findall(r"^\s+(\w+):", inspect.getdoc(cls) or "", re.M))
    missing = [name for name in _arguments(cls) if name not in shown]
    assert not missing, f"not described in the docstring's Args: {', '.join(missing)}"


def reparsed(thing: T, base: type) -> T:
    """Another one like `thing`, from its configuration as a run writes it and a checkpoint keeps it."""
    import jsonargparse

    from asd.described import described

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, "it")
    text = parser.dump(parser.parse_object({"it": described(thing)}))
    made: Any = parser.instantiate_classes(parser.parse_string(text))["it"]
    assert type(made) is type(thing), f"the configuration gives a {type(made).__name__}"
    return made
