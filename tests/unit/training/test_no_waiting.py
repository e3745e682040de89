"""Nothing in a training step makes the host wait for a GPU: reading a value of it, or a copy that is waited for.

The GPU is torch's fake one, whose tensors have shapes and no values: what needs a value fails.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from asd import plugins
from asd.data.classes import ClassTable
from asd.data.clip import ClipBatch
from asd.encoders.augment import Mixup, SpecAugment
from asd.encoders.base import Encoder
from asd.heads import FeatureExchange, Head
from asd.testing.head import CLASSES, CLIPS, WIDTH, built
from asd.training.accuracy import Accuracies
from asd.training.averaging import AveragedWeights
from asd.training.loss_plateau import LossPlateau
from asd.training.module import AnomalyDetector
from asd.training.progress import Progress
from asd.training.warmup import WarmUp
from tests.unit.conftest import small_data, small_model, small_trainer

plugins.load_all()
ENCODERS = [name for name, cls in plugins.known(Encoder).items() if cls.__module__.startswith("asd_plugins")]
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
READS = torch.ops.aten._local_scalar_dense.default


class _Copies(TorchDispatchMode):
    """Raises where a copy between host and GPU is waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in COPIES:
            source = args[0] if func is COPIES[0] else args[1]
            waits = not (kwargs or {}).get("non_blocking", len(args) > 2 and args[2])
            assert source.device.type == result.device.type or not waits, "a copy between host and GPU is waited for"
        return result


def on_gpu(module: nn.Module) -> nn.Module:
    """The module with parameters and buffers on the fake GPU."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, one in kept.items():
                if one is not None:
                    fake = torch.empty(one.shape, dtype=one.dtype, device="cuda")
                    kept[name] = nn.Parameter(fake, one.requires_grad) if isinstance(one, nn.Parameter) else fake
    return module


def without_waiting(compute: Callable[[], Tensor]) -> None:
    with _Copies():
        assert compute().device.type == "cuda"


@pytest.fixture
def gpu() -> Any:
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def test_waiting_is_seen(gpu: None) -> None:
    there = torch.ones(3, device="cuda")
    for reads in (lambda: there.sum().item(), lambda: bool(there.all()), lambda: there[there > 0], there.tolist):
        with pytest.raises(Exception, match="aten"):
            reads()
    for copies in (there.cpu, lambda: torch.ones(3).to("cuda"), lambda: there.copy_(torch.ones(3))):
        with pytest.raises(AssertionError, match="is waited for"):
            without_waiting(copies)
    without_waiting(lambda: torch.ones(3).to("cuda", non_blocking=True))


@pytest.mark.parametrize("name", list(plugins.known(Head)))
def test_heads_do_not_wait(name: str, gpu: None) -> None:
    head = on_gpu(built(plugins.resolve(name, Head)()).train())
    embeddings, targets = torch.randn(CLIPS, WIDTH, device="cuda"), torch.rand(CLIPS, CLASSES, device="cuda")
    without_waiting(lambda: head(embeddings, targets))
    without_waiting(lambda: head.logits(embeddings))


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_do_not_wait(name: str) -> None:
    encoder = plugins.resolve(name, Encoder).tiny().train()
    encoder.augment = SpecAugment()
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu(encoder)
        waveform = torch.randn(3, round((encoder.seconds or 1.0) * encoder.sample_rate), device="cuda")
        without_waiting(lambda: encoder(waveform))


@pytest.mark.parametrize("by_energy", [False, True])
def test_a_training_step_does_not_wait(by_energy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(mixup=Mixup(by_energy=by_energy), exchange=FeatureExchange())
    model.build(["a", "b"], ["fan"])
    model.accuracies = Accuracies(ClassTable(("fan_section_00", "valve_section_00")))
    # What the loss itself is looked at by is tested in its own place.
    monkeypatch.setattr(model._losses, "checked", lambda compute, clips, place: compute())
    monkeypatch.setattr(model, "log", lambda name, value, **options: None)
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu(model.train())
        label = torch.zeros(5, dtype=torch.int64, device="cuda")
        batch = ClipBatch(torch.randn(5, 16000, device="cuda"), label, label)
        model.training_step(batch, 0)  # the first one moves the tables of accuracies
        without_waiting(lambda: model.training_step(batch, 0))


class _Reads(TorchDispatchMode):
    """Keeps where values of tensors are read."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is READS:
            frames = [one for one in traceback.extract_stack() if one.filename != __file__]
            own = [one for one in frames if {"asd", "lightning", "optim"} & set(Path(one.filename).parts)]
            self.places.add(f"{Path(own[-1].filename).name}: {own[-1].name}")
        return func(*args, **(kwargs or {}))


class _InSteps(pl.Callback):
    """Watches from the start of each training step to the end of all that follows it."""

    def __init__(self) -> None:
        self.reads = _Reads()

    def on_train_batch_start(self, *args: Any) -> None:
        self.reads.__enter__()

    def on_before_zero_grad(self, *args: Any) -> None:
        self.steps = getattr(self, "steps", 0) + 1

    def on_train_batch_end(self, *args: Any) -> None:
        self.reads.__exit__(None, None, None)


def test_trainer_and_callbacks_read_nothing_but_the_loss(small_run: Any, tmp_path: Path) -> None:
    watch = _InSteps()
    others = [WarmUp(), LossPlateau(), AveragedWeights(), Progress()]
    trainer = small_trainer(
        tmp_path, callbacks=[watch, *others], enable_progress_bar=True, gradient_clip_val=1.0, limit_val_batches=0,
        max_epochs=2,
    )  # fmt: skip
    model: AnomalyDetector = small_model()
    trainer.fit(model, datamodule=small_data(small_run.data.root))
    assert watch.steps > 2
    # On the CPU the loss is looked at at once, and whole numbers that become labels are checked.
    assert watch.reads.places == {"losses.py: settle", "module.py: training_step"}
