"""What the attention of several encoders shares."""

from __future__ import annotations

import torch
from torch import Tensor


def heads_together(mixed: Tensor) -> Tensor:
    """What attention leaves of each head, ``(B, H, T, D)``, to ``(B, T, H * D)``."""
    if torch.compiler.is_exporting():
        # Kernels leave different orders in memory, and a graph is run by others than it was recorded with.
        mixed = mixed.clone(memory_format=torch.contiguous_format)
    return mixed.transpose(1, 2).flatten(2)
