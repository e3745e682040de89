"""Devices by the names that people give."""

from __future__ import annotations

import torch

from asd.errors import UserError


def usable(name: str) -> torch.device:
    """The device of that name, such as ``cpu`` or ``cuda:1``.

    Raises:
        UserError: No such device, or none that holds numbers here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used ({' '.join(str(error).split())[:120]})") from error
    return device
