"""How a contract is checked, whatever it is a contract of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar


class _Excusable(Protocol):
    @property
    def expected_failures(self) -> dict[str, str]: ...


T = TypeVar("T", bound=_Excusable)


def run_checks(checks: Mapping[str, Callable[[T], None]], thing: T) -> None:
    """Run every check on `thing`, which is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    for name, check in checks.items():
        run_check(name, check, thing)


def run_check(name: str, check: Callable[[T], None], thing: T) -> None:
    """Run one check, and insist on failure where `thing` says that it cannot pass it."""
    reason = thing.expected_failures.get(name)
    kind = type(thing).__name__
    try:
        check(copy.deepcopy(thing))
    except Exception as error:
        if reason is None:
            raise AssertionError(f"{kind}: {name}: {error}") from error
        return
    assert reason is None, f"{kind} passes {name}; take it out of expected_failures ({reason})"
