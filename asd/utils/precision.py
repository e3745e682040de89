"""Where mixed precision is not to reach."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """A region without autocast on the device of `tensor`; operands inside still have to be made float32."""
    # Autocast knows no `meta` device, on which models are built to be counted.
    return torch.autocast("cpu" if tensor.is_meta else tensor.device.type, enabled=False)


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether a device takes several times as long in bfloat16 as in float32, because it has none of its own."""
    # oneDNN knows it of a CPU, and no public function tells.
    return device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
