"""What tells weights from other weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import nn


def fingerprint(modules: Sequence[nn.Module]) -> str:
    """SHA-256 over the weights and buffers that make an embedding."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
