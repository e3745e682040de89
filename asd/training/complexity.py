"""What a detector costs, counted while it works."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asd.evaluation.submission import Complexity
from asd.training.network import Network


def count(model: Network, seconds: float) -> Complexity:
    """Count the parameters and the multiply-accumulate operations of a detector for one clip of that length."""
    model.eval()
    waveform = torch.zeros(1, round(seconds * model.encoder.sample_rate))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if model.fitted:
            model(waveform, torch.zeros(1, dtype=torch.int64))
        else:
            model.embed(waveform)
    parts: list[nn.Module] = [model.encoder, model.adapter]
    weights = sum(p.numel() for part in parts for p in part.parameters())
    buffers = [tensor for scorer in model.sections.scorers for tensor in scorer.state_dict().values()]
    fitted = sum(tensor.numel() for tensor in buffers if tensor.is_floating_point())
    return Complexity(weights + fitted, counter.get_total_flops() // 2)
