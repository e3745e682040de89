"""The line that says what is about to be trained."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from asd.data.classes import ClassTable
from asd.training.summary import summary
from asd.training.warmup import WarmUp
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer


class Engine:
    """What a summary asks a trainer."""

    train_dataloader = object()
    num_training_batches = 31
    accumulate_grad_batches = 2

    def __init__(self, steps: float = 160, *callbacks: Any) -> None:
        self.estimated_stepping_batches = steps
        self.callbacks = callbacks


@pytest.mark.parametrize(
    ("engine", "classes", "said"),
    [
        (
            Engine(160, WarmUp(2)), ClassTable(("a", "b", "c"), (4, 990, 30)),
            "3 auxiliary classes of 4 to 990 clips, median 30; 16 steps an epoch, 160 in all; "
            "the encoder trains from step 32, epoch 2",
        ),
        (
            Engine(160, WarmUp(1, 3)), ClassTable(("a", "b"), (5, 5)),
            "2 auxiliary classes of 5 clips; 16 steps an epoch, 160 in all; "
            "the encoder trains from step 16, epoch 1, a stage more every 3 epochs",
        ),
        (
            Engine(math.inf, WarmUp(-1)), ClassTable(("a",)),
            "1 auxiliary class; 16 steps an epoch, without end; the encoder stays frozen",
        ),
        (Engine(), None, "16 steps an epoch, 160 in all; the encoder trains from the start"),
    ],
)  # fmt: skip
def test_it_says_classes_steps_and_thaw(engine: Any, classes: ClassTable | None, said: str) -> None:
    assert summary(engine, classes) == said


def test_a_run_begins_with_it(small_run: SmallRun, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = small_data(small_run.data.root)
    trainer = small_trainer(tmp_path, max_epochs=3, limit_train_batches=1, limit_val_batches=0, callbacks=[WarmUp(2)])
    with caplog.at_level(logging.INFO, "asd"):
        trainer.fit(small_model(), datamodule=data)
    said = next(one for one in caplog.messages if "auxiliary classes" in one)
    assert said.startswith(f"{len(data.classes)} auxiliary classes of ")
    assert said.endswith("1 steps an epoch, 3 in all; the encoder trains from step 2, epoch 2")
