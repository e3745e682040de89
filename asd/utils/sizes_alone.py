"""Networks built for their sizes alone, on torch's meta device, which has no values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FILLED = (Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.exponential_)
_MADE = (torch.randn, torch.rand)


class _NotFilled(TorchFunctionMode):
    """Leaves tensors as they are where they would be initialised."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _FILLED or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        if func in _MADE:
            func, kwargs = torch.empty, {name: value for name, value in (kwargs or {}).items() if name != "generator"}
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def sizes_alone() -> Iterator[None]:
    """Within it, modules are built without values: their tensors have a shape, and take no memory.

    They are not filled with random numbers, and the generator on the CPU is left where it was. On the meta device torch
    imports its compiler and sympy for that, as for a mere sum of two tensors, which takes as long as importing torch
    itself: constructors do best to compute with numbers, or by `asd.encoders.constants`.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NotFilled():
        yield
