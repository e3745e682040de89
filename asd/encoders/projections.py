"""Which linear layers of a transformer adapters stand beside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from torch import nn


@dataclass(frozen=True)
class Projections:
    """Ends of the names of the linear layers in the layers of a transformer.

    Attributes:
        attention: Those that make queries, keys and values, or all three in one.
        outputs: The last of each branch, of attention and of feed-forward.
    """

    attention: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, several: Iterable[Self | None]) -> Self | None:
        """Those of several encoders together; ``None``: there are none."""
        known = [one for one in several if one is not None]
        attention = dict.fromkeys(end for one in known for end in one.attention)
        outputs = dict.fromkeys(end for one in known for end in one.outputs)
        return cls(tuple(attention), tuple(outputs)) if known else None


def linear_layers(module: nn.Module, ends: Iterable[str] | None = None) -> list[str]:
    """Names of the linear layers of a module, all or those with one of these ends."""
    names = [name for name, one in module.named_modules() if isinstance(one, nn.Linear)]
    return names if ends is None else [name for name in names if name.endswith(tuple(ends))]
