"""What comes one by one, in lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size`, the last may be shorter; where the source fails, what came before is given first."""
    some: list[_Item] = []
    try:
        for one in items:
            some.append(one)
            if len(some) == size:
                yield some
                some = []
    except Exception:
        if some:
            yield some
        raise
    if some:
        yield some
