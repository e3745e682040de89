"""Nothing of float64 lies or is made where the model is: Apple's GPUs have none."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import asd.scoring
from asd.encoders import Encoder
from asd.encoders.base import Statistics
from asd.plugins import known
from asd.scoring.base import Scorer
from asd.scoring.outliers import IsolationForestScorer
from asd.scoring.threshold import Threshold
from asd.testing.scorer import reference
from asd.utils.precision import emulates_bfloat16, full_precision

for module in pkgutil.iter_modules(asd.scoring.__path__):
    importlib.import_module(f"asd.scoring.{module.name}")
ENCODERS = [name for name, cls in known(Encoder).items() if cls.__module__.startswith("asd_plugins.")]  # type: ignore[type-abstract]
SCORERS = [name for name, cls in known(Scorer).items() if cls.__module__.startswith("asd.")]  # type: ignore[type-abstract]
THRESHOLDS = [name for name, cls in known(Threshold).items() if cls.__module__.startswith("asd.")]  # type: ignore[type-abstract]
WIDE = (torch.float64, torch.complex128)


class OnCPU(Tensor):
    """What `cpu()` gave, and what is computed of it."""


class Away(TorchFunctionMode):
    """Takes every tensor to be on a device, but those that `cpu()` was asked for: the others must not become wide."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "cpu":
            return out.as_subclass(OnCPU)
        if isinstance(out, Tensor) and out.dtype in WIDE and not isinstance(out, OnCPU):
            given = [one for one in args if isinstance(one, Tensor)]
            assert not given or any(one.dtype in WIDE for one in given), f"{func} makes {out.dtype} on the device"
        return out


def narrow(module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    return not any(tensor.dtype in WIDE for tensor in tensors)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_stay_in_float32(name: str) -> None:
    encoder = known(Encoder)[name].tiny().eval()  # type: ignore[type-abstract]
    waveform = torch.randn(2, round((encoder.seconds or 1.0) * encoder.sample_rate))
    with Away(), torch.no_grad():
        encoder.observe(waveform)
        for module in encoder.modules():
            if isinstance(module, Statistics):
                module.finish()
        assert encoder(waveform).dtype == torch.float32
    assert narrow(encoder)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_stay_in_float32(name: str) -> None:
    rows, target = reference()
    scorer = known(Scorer)[name]()  # type: ignore[type-abstract]
    with Away():
        scorer.fit(rows, target)
        assert scorer(rows).dtype == torch.float32
    assert narrow(scorer)


@pytest.mark.parametrize("name", THRESHOLDS)
def test_thresholds_take_scores_off_the_device(name: str) -> None:
    threshold = known(Threshold)[name]()  # type: ignore[type-abstract]
    with Away():
        threshold.fit(torch.rand(50), torch.arange(50) > 40)
        threshold.at(torch.rand(50), 0.9)


def test_the_mode_sees_what_it_is_to_see() -> None:
    with Away():
        torch.rand(2).cpu().double().mean(0)
        with pytest.raises(AssertionError, match="on the device"):
            torch.rand(2).double()
        with pytest.raises(AssertionError, match="on the device"):
            torch.rand(2).to(torch.float64)


def test_sums_of_statistics_stay_when_the_module_moves() -> None:
    statistics = Statistics(4)
    statistics.observe(torch.randn(2, 5, 4))
    moved = statistics.to(torch.float16).to("meta")
    assert moved.count.device.type == "cpu"
    assert moved.count.dtype == torch.float64
    assert "count" not in statistics.state_dict()


def test_float32_cuts_of_trees_part_as_float64_ones() -> None:
    rows, target = reference()
    scorer = IsolationForestScorer().fit(rows, target)
    state = scorer.state_dict()
    # A checkpoint of before: cuts were float64, here a little below and above values that come.
    nudge = torch.where(torch.rand(state["cut"].shape) > 0.5, 1e-12, -1e-12).double()
    cut = state["cut"].double() + nudge
    state["cut"], state["depth"], state["usual"] = cut, state["depth"].double(), state["usual"].double()
    old = IsolationForestScorer()
    old.load_state_dict(state)
    assert narrow(old)
    values = scorer.cut
    assert torch.equal(values > old.cut, values.double() > cut)
    assert (values > old.cut).any()
    assert not (values > old.cut).all()


def test_full_precision_is_asked_for_on_the_tensors_device() -> None:
    for device in ("cpu", "meta", "cuda", "mps"):
        place = torch.device(device)
        tensor = type("Elsewhere", (), {"is_meta": device == "meta", "device": place})()
        assert full_precision(tensor).device == ("cpu" if device == "meta" else device)


@pytest.mark.parametrize(
    ("device", "known", "emulated"), [("cpu", True, False), ("cpu", False, True), ("cuda", False, False)]
)
def test_a_cpu_without_bfloat16_is_told(
    device: str, known: bool, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: known)
    assert emulates_bfloat16(torch.device(device)) == emulated
