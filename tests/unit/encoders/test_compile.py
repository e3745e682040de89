"""The trunks of encoders compile without graph breaks, and compiled they compute the same."""

from __future__ import annotations

import pytest
import torch

from asd import plugins
from asd.encoders.base import Encoder

TRUNKS = [
    "AiSFX", "ATSTFrame", "BEATs", "CED", "Dasheng", "EAT", "FISHER", "OpenL3", "PANNs", "PaSST", "YAMNet",
]  # fmt: skip


@pytest.mark.parametrize("name", TRUNKS)
def test_the_trunk_is_one_graph(name: str) -> None:
    torch.manual_seed(0)
    encoder = plugins.resolve(name, Encoder).tiny()
    spectrogram = encoder.spectrogram(torch.randn(2, encoder.sample_rate))
    # The eager back end traces as every other does, and needs no compiler of C.
    compiled = torch.compile(encoder.encode, backend="eager", fullgraph=True)
    for training in (False, True):
        encoder.train(training)
        torch.testing.assert_close(compiled(spectrogram), encoder.encode(spectrogram))
    compiled(spectrogram).square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())
