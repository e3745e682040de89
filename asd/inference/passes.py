"""The precision of forward passes."""

from __future__ import annotations

import contextlib

import torch


def passes_in(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Passes within it are of a precision as the trainer names it, so that scores are those of `asd test`."""
    kind = precision.partition("-")[0]
    if kind not in ("bf16", "16"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if kind == "bf16" else torch.float16)
