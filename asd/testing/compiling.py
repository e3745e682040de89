"""Whether an encoder can be compiled, as a check of its contract."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.modules.module import _global_buffer_registration_hooks as buffer_hooks

from asd.encoders.base import Encoder


# An export that failed in this process leaves a hook of torch's behind, which cannot be compiled.
@mock.patch.dict(buffer_hooks, clear=True)
def check_compile(encoder: Encoder) -> None:
    """The whole trunk is compiled without a break, and gives the same loss and gradients under the same names."""
    taken: set[int] = set()

    def traced(graph: Any, inputs: list[Tensor]) -> Any:
        def run(*given: Any) -> Any:
            taken.update(map(id, given))
            return graph.forward(*given)

        return run

    encoder.train()
    torch.compiler.reset()
    expected, names = _loss_and_gradients(encoder), list(encoder.state_dict())
    encoder.compile_trunk(backend=traced, fullgraph=True)
    found = _loss_and_gradients(encoder)
    assert list(encoder.state_dict()) == names, "compiled, parameters have other names"
    torch.testing.assert_close(found, expected, msg=lambda text: f"compiled, it differs: {text}")
    outside = [name for name, one in encoder.named_parameters() if id(one) not in taken]
    assert not outside, f"no compiled graph has {', '.join(outside)[:200]}; override compile_trunk"
    copied = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    torch.testing.assert_close(_loss_and_gradients(copied), expected, msg=lambda text: f"a copy differs: {text}")


def _loss_and_gradients(encoder: Encoder) -> list[Tensor]:
    samples = round((encoder.seconds or 1.0) * encoder.sample_rate)
    waveform = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(7))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        loss = encoder(waveform).float().square().mean()
    trained = [one for one in encoder.parameters() if one.requires_grad]
    return [loss.detach(), *torch.autograd.grad(loss, trained)]
