"""Windows and filters are computed on the CPU, wherever a module is built."""

from __future__ import annotations

import pytest
import torch

from asd.encoders.constants import constant


def test_it_is_what_the_function_returns() -> None:
    assert torch.equal(constant(torch.hann_window, 8, periodic=False), torch.hann_window(8, periodic=False))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_it_is_on_the_device_that_modules_are_built_on(device: str) -> None:
    computed_on = []

    def window(size: int) -> torch.Tensor:
        computed_on.append(torch.ones(size).device.type)
        return torch.ones(size)

    with torch.device(device):
        found = constant(window, 4)
    assert (found.device.type, found.shape) == (device, (4,))
    assert computed_on == ["cpu"]
