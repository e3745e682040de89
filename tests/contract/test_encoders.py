"""Every encoder that is found passes every check; one that must not is caught."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from asd import plugins
from asd.encoders import TokenLayout
from asd.encoders.base import Encoder
from asd.testing.contract import Check, name_of, run_check
from asd.testing.encoder import CHECKS, check_encoder

plugins.load_all()
FOUND = [name for name, cls in plugins.known(Encoder).items() if cls.__module__.startswith("asd_plugins")]


def test_every_plug_in_loads() -> None:
    assert plugins.load_all() == {}
    assert "DualBranchCNN" in FOUND


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", FOUND)
def test_encoders_hold_to_the_contract(name: str, check: Check[Encoder]) -> None:
    torch.manual_seed(0)
    run_check(check, plugins.resolve(name, Encoder).tiny())


class _Mean(nn.Module):
    """An encoder as a graph of its own."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform: Tensor) -> Tensor:
        features: Tensor = self.encoder(waveform).float()
        return features.mean((1, 2))


@pytest.mark.parametrize("name", FOUND)
def test_encoders_are_the_same_in_onnxruntime(name: str, tmp_path: Path) -> None:
    import onnx.checker
    import onnxruntime

    torch.manual_seed(0)
    encoder = plugins.resolve(name, Encoder).tiny().eval()
    waveform = 0.1 * torch.randn(5, round(encoder.sample_rate * (encoder.seconds or 1.0)))
    batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with torch.no_grad():
        graph = _Mean(encoder).eval()
        program = torch.export.export(graph, (waveform[:2],), dynamic_shapes=batch, strict=False)
        torch.onnx.export(program, (waveform[:2],), dynamo=True, verbose=False).save(str(tmp_path / "encoder.onnx"))
        onnx.checker.check_model(str(tmp_path / "encoder.onnx"), full_check=True)
        session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"])
        for size in (1, 5):
            (found,) = session.run(None, {session.get_inputs()[0].name: waveform[:size].numpy()})
            assert found == pytest.approx(graph(waveform[:size]).numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AST", "ATSTFrame", "BEATs", "CED", "Dasheng", "EAT", "FISHER", "MobileNet", "PaSST"])
def test_full_size_encoders_are_written_as_onnx(name: str, tmp_path: Path) -> None:
    """Attention runs by other kernels there than in the small instances."""
    graph = _Mean(plugins.resolve(name, Encoder)().eval()).eval()
    waveform = torch.zeros(2, 10 * graph.encoder.sample_rate)
    batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with torch.no_grad():
        program = torch.export.export(graph, (waveform,), dynamic_shapes=batch, strict=False)
        assert torch.onnx.export(program, (waveform,), dynamo=True, verbose=False) is not None


class _Sound(Encoder):
    """Passes every check.

    Args:
        gain: Factor on the spectrogram.
    """

    sample_rate, feature_dim = 16000, 8

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.layer = nn.Linear(80, 8)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return self.gain * waveform[:, : waveform.shape[1] // 80 * 80].unflatten(1, (-1, 80))

    def encode(self, spectrogram: Tensor) -> Tensor:
        return self.layer(spectrogram)[:, None]

    def stages(self) -> list[nn.Module]:
        return [self.layer]


class _BatchMean(_Sound):
    __doc__ = _Sound.__doc__

    def encode(self, spectrogram: Tensor) -> Tensor:
        return super().encode(spectrogram - spectrogram.mean(0))


class _Unused(_Sound):
    __doc__ = _Sound.__doc__

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class _Wide(_Sound):
    __doc__ = _Sound.__doc__
    feature_dim = 9


class _Backwards(_Sound):
    __doc__ = _Sound.__doc__

    def encode(self, spectrogram: Tensor) -> Tensor:
        return super().encode(spectrogram).flip(2)


class _Odd(_Sound):
    __doc__ = _Sound.__doc__
    layout = TokenLayout(rows=2, special_tokens=1)


class _UpsideDown(_Sound):
    __doc__ = _Sound.__doc__
    layout = TokenLayout(rows=2)

    def encode(self, spectrogram: Tensor) -> Tensor:
        low = spectrogram.mean(2, keepdim=True)
        return super().encode(torch.stack([spectrogram - low, low.expand_as(spectrogram)], dim=2).flatten(1, 2))


class _Breaks(_Sound):
    __doc__ = _Sound.__doc__

    def encode(self, spectrogram: Tensor) -> Tensor:
        return super().encode(spectrogram * math.floor(1 + spectrogram.abs().max().item() % 1))


class _Elsewhere(_Sound):
    __doc__ = _Sound.__doc__

    def encode(self, spectrogram: Tensor) -> Tensor:
        return spectrogram[:, None]

    def forward(self, waveform: Tensor) -> Tensor:
        return self.layer(super().forward(waveform))


class _Undocumented(_Sound):
    """No word of the argument."""


def test_a_sound_encoder_passes() -> None:
    check_encoder(_Sound())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_BatchMean, "rows_independent"),
        (_Unused, "gradients|stages"),
        (_Wide, "shapes"),
        (_Backwards, "time: bursts show"),
        (_Odd, "layout: TokenLayout.* does not fit 200 tokens of width 8 for 1.0 s"),
        (_UpsideDown, "frequency: tones"),
        (_Breaks, "meta|compile"),
        (_Elsewhere, "no compiled graph has layer.weight, layer.bias; override compile_trunk"),
        (_Undocumented, "documented"),
    ],
)
def test_broken_encoders_are_caught(broken: type[Encoder], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_encoder(broken())


def test_an_expected_failure_must_fail() -> None:
    class Excused(_Sound):
        __doc__ = _Sound.__doc__
        expected_failures: ClassVar[dict[str, str]] = {"meta": "it is said not to run there"}

    with pytest.raises(AssertionError, match="take it out of expected_failures"):
        check_encoder(Excused())
