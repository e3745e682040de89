"""Windows and filters of front ends, computed while a module is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def constant(function: Callable[P, Tensor], *args: P.args, **kwargs: P.kwargs) -> Tensor:
    """What `function` returns, computed on the CPU and brought to the device that modules are being built on.

    On the meta device, where networks are built for their sizes alone, torch would import its compiler and sympy to
    work out these few numbers, which takes as long as importing torch itself; some functions need their values, too.
    """
    device = torch.get_default_device()
    with torch.device("cpu"):
        return function(*args, **kwargs).to(device)
