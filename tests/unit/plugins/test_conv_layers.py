"""What the convolutional encoders share."""

from __future__ import annotations

import pytest
import torch
from asd_plugins.conv_layers import Float32Convolution, depthwise
from torch import Tensor, nn


def gradients(layer: nn.Conv2d, maps: Tensor) -> tuple[Tensor, ...]:
    """The output, and the gradients of the input and of the weight of its weighted sum."""
    given = maps.clone().requires_grad_()
    out = layer(given)
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    return out, *torch.autograd.grad((out.float() * weights).sum(), [given, layer.weight])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "bf16-true"])
def test_a_depthwise_convolution_trains_as_any_other_in_every_precision(
    kernel: int, stride: int, precision: str
) -> None:
    torch.manual_seed(0)
    layer = depthwise(8, kernel, stride, kernel // 2)
    usual = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=False)
    usual.load_state_dict(layer.state_dict())
    maps = torch.randn(4, 8, 12, 10)
    expected = gradients(usual, maps)
    if precision == "bf16-true":
        layer, maps = layer.bfloat16(), maps.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        found = gradients(layer, maps)
        assert layer(maps).dtype == found[0].dtype == (torch.float32 if precision == "32" else torch.bfloat16)
    tolerance = 1e-6 if precision == "32" else 0.01
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("trained", [True, False])
def test_what_is_not_trained_stays_in_bfloat16(monkeypatch: pytest.MonkeyPatch, trained: bool) -> None:
    layer = depthwise(8, 5, 2, 2).requires_grad_(trained)
    assert isinstance(layer, Float32Convolution)
    computed: list[torch.dtype] = []
    convolve = layer._conv_forward

    def noted(maps: Tensor, *rest: Tensor) -> Tensor:
        computed.append(torch.bfloat16 if torch.is_autocast_enabled("cpu") else maps.dtype)
        return convolve(maps, *rest)

    monkeypatch.setattr(layer, "_conv_forward", noted)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 8, 12, 10))
        with torch.inference_mode():
            layer(torch.randn(1, 8, 12, 10))
    assert computed == [torch.float32 if trained else torch.bfloat16, torch.bfloat16]
