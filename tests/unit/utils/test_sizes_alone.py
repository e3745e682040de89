"""Networks built for their sizes alone have shapes and no values, and cost nothing else."""

from __future__ import annotations

import torch
from torch import nn

from asd.utils.sizes_alone import sizes_alone


def test_modules_have_shapes_and_no_values() -> None:
    with sizes_alone():
        layers = nn.Sequential(nn.Conv1d(4, 8, 3), nn.Embedding(5, 6), nn.LSTM(3, 2))
        drawn = nn.Parameter(torch.randn(2, 3, generator=None))
        filled = nn.init.normal_(tensor=torch.empty(7), std=0.02)
    assert all(one.is_meta for one in (*layers.parameters(), drawn, filled))
    shapes = [tuple(one.shape) for one in (layers[0].weight, drawn, filled)]
    assert shapes == [(8, 4, 3), (2, 3), (7,)]


def test_random_numbers_go_on_as_if_nothing_had_been_built() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with sizes_alone(), torch.device("cpu"):
        torch.empty(9).log_normal_()
    assert torch.equal(torch.rand(3), expected)
