"""Accuracies of the auxiliary classes, by kind, over batches and ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.data.classes import ClassTable
from asd.heads.reconstruction import Reconstruction
from asd.training.accuracy import Accuracies
from tests.ranks import in_ranks
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer

NAMES = ("fan/clean", "fan/noise", "fan/section_00/a", "fan/section_00/b", "noise", "pump/section_00/a")
FAN_CLEAN, FAN_NOISE, FAN_A, FAN_B, NOISE, PUMP = range(6)


def one_hot(*labels: int) -> Tensor:
    return F.one_hot(torch.tensor(labels), len(NAMES)).float()


def figures(labels: list[int], found: list[int]) -> dict[str, float]:
    accuracies = Accuracies(ClassTable(NAMES))
    accuracies.add(one_hot(*found) * 5 - 1, one_hot(*labels))
    return accuracies.finish()


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        ([FAN_A, FAN_A, PUMP, PUMP], [FAN_A, FAN_B, FAN_A, PUMP], {"machine": 0.75, "attribute": 0.5}),
        ([FAN_A, FAN_B], [FAN_CLEAN, NOISE], {"machine": 0.5, "attribute": 0.0}),
        ([FAN_CLEAN, FAN_CLEAN, NOISE], [FAN_CLEAN, FAN_A, NOISE], {"clean": 0.5, "noise": 1.0}),
        ([FAN_NOISE, NOISE, PUMP], [NOISE, NOISE, PUMP], {"noise": 0.5, "machine": 1.0, "attribute": 1.0}),
    ],
)
def test_each_figure_is_of_its_clips(labels: list[int], found: list[int], expected: dict[str, float]) -> None:
    assert figures(labels, found) == {f"accuracy_{name}": value for name, value in expected.items()}


def test_there_are_figures_for_the_classes_there_are() -> None:
    assert Accuracies(ClassTable(NAMES)).names == [
        "accuracy_machine", "accuracy_attribute", "accuracy_clean", "accuracy_noise",
    ]  # fmt: skip
    assert Accuracies(ClassTable(("fan/section_00/a", "fan/section_00/clean"))).names == ["accuracy_attribute"]
    assert Accuracies(ClassTable(("noise",))).names == ["accuracy_noise"]


def test_an_epoch_is_all_its_batches_and_the_next_starts_anew() -> None:
    accuracies = Accuracies(ClassTable(NAMES))
    accuracies.add(one_hot(PUMP, PUMP, PUMP), one_hot(PUMP, PUMP, PUMP))
    accuracies.add(one_hot(FAN_A), one_hot(PUMP))
    assert accuracies.finish() == {"accuracy_machine": 0.75, "accuracy_attribute": 0.75}
    assert accuracies.finish() == {}


def test_a_mixed_clip_is_one_of_what_it_has_most_of() -> None:
    mixed = 0.7 * one_hot(PUMP, FAN_A) + 0.3 * one_hot(FAN_A, PUMP)
    accuracies = Accuracies(ClassTable(NAMES))
    accuracies.add(one_hot(PUMP, PUMP), mixed)
    assert accuracies.finish()["accuracy_attribute"] == 0.5


def figures_in_rank(rank: int) -> dict[str, float]:
    accuracies = Accuracies(ClassTable(NAMES))
    if rank == 0:
        accuracies.add(one_hot(PUMP, PUMP, FAN_A), one_hot(PUMP, PUMP, FAN_B))
    else:
        accuracies.add(one_hot(NOISE), one_hot(PUMP))
    return accuracies.finish()


def test_the_clips_of_all_ranks_count_once() -> None:
    assert in_ranks(figures_in_rank) == [{"accuracy_machine": 0.75, "accuracy_attribute": 0.5}] * 2


# -- in a run


def test_a_run_logs_them_once_an_epoch(small_run: SmallRun) -> None:
    logged = small_run.trainer.callback_metrics
    names = {name for name in logged if name.startswith("train/accuracy")}
    assert {"train/accuracy_machine", "train/accuracy_attribute"} <= names
    assert all(0 <= float(logged[name]) <= 1 for name in names)
    assert "train/accuracy_attribute" in small_run.trainer.progress_bar_metrics
    assert not any("step" in name for name in names)


def test_what_does_not_classify_has_none(small_run: SmallRun, tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, limit_train_batches=1, limit_val_batches=0)
    model = small_model(head=Reconstruction())
    trainer.fit(model, datamodule=small_data(small_run.data.root))
    assert model.accuracies is None
    assert not any(name.startswith("train/accuracy") for name in trainer.callback_metrics)
    assert "train/loss" in trainer.callback_metrics


def test_counting_leaves_head_and_gradients_alone() -> None:
    model = small_model(mixup=None)
    model.build(NAMES, ["fan"])
    waves, targets = torch.randn(6, 16000) / 10, one_hot(*range(6))
    losses = []
    for accuracies in (None, Accuracies(ClassTable(NAMES))):
        torch.manual_seed(0)
        model.accuracies = accuracies
        scale = model.head.scale.clone()
        model.zero_grad()
        loss = model._loss(waves, targets)
        loss.backward()
        losses.append((loss.detach(), model.head.centres.grad.clone()))
        model.head.scale.copy_(scale)
        assert accuracies is None or len(accuracies.finish()) == 4
    assert all(torch.equal(one, two) for one, two in zip(*losses, strict=True))
