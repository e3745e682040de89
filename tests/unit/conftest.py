"""One small training run, whose parts the tests of module and detector look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.training.module import AnomalyDetector

ENCODER = {"seconds": 1.0, "width": 4, "branch_dim": 8, "spectrum_points": 200}


@dataclass(frozen=True)
class SmallRun:
    """One epoch on two machines of one-second clips.

    Attributes:
        model: The detector, fitted; not to be changed.
        data: What it was trained on.
        trainer: What trained it.
        config: The configuration that the checkpoint keeps.
        checkpoint: The file of it.
    """

    model: AnomalyDetector
    data: ToyADMOS2
    trainer: pl.Trainer
    config: dict[str, Any]
    checkpoint: Path

    @property
    def clips(self) -> list[Path]:
        """The test clips of the fan."""
        return sorted((self.data.root / "dev_data/raw/fan/test").iterdir())


def small_model(**changed: Any) -> AnomalyDetector:
    """An unfitted detector of the same configuration."""
    from asd_plugins.dual_branch import DualBranchCNN

    from asd.encoders.adapter import Adapter
    from asd.encoders.augment import Mixup
    from asd.scoring import KMeansScorer
    from asd.scoring.threshold import QuantileThreshold

    parts: dict[str, Any] = {
        "encoder": DualBranchCNN(**ENCODER), "adapter": Adapter(embedding_dim=4), "scorer": KMeansScorer(2),
        "threshold": QuantileThreshold(0.8, abstain=0.4), "mixup": Mixup(1.0),
    }  # fmt: skip
    return AnomalyDetector(**{**parts, **changed})


def small_trainer(folder: Path, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 1}
    return pl.Trainer(
        **{"accelerator": "cpu", "max_epochs": 1, "default_root_dir": folder, **quiet, **options},
        enable_checkpointing=False,
    )


def small_data(root: Path, **options: Any) -> ToyADMOS2:
    return ToyADMOS2(root, **{"seconds": 1.0, "batch_size": 5, **options})


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    from asd.testing import write_dataset

    folder = tmp_path_factory.mktemp("small")
    data = small_data(write_dataset(folder / "data", seconds=1.0))
    pl.seed_everything(1, verbose=False)
    model = small_model()
    model.config = {
        "trainer": {"precision": None},
        "data": {"class_path": "asd.data.ToyADMOS2", "init_args": {"root": str(data.root), "seconds": 1.0}},
        "model": {
            "encoder": {"class_path": "asd_plugins.dual_branch.DualBranchCNN", "init_args": ENCODER},
            "adapter": {"class_path": "asd.encoders.adapter.Adapter", "init_args": {"embedding_dim": 4}},
            "scorer": {"class_path": "asd.scoring.kmeans.KMeansScorer", "init_args": {"k": 2}},
            "threshold": {
                "class_path": "asd.scoring.threshold.QuantileThreshold", "init_args": {"quantile": 0.8, "abstain": 0.4},
            },
        },
    }  # fmt: skip
    trainer = small_trainer(folder)
    trainer.fit(model, datamodule=data)
    checkpoint = folder / "run/checkpoints/last.ckpt"
    trainer.save_checkpoint(checkpoint)
    return SmallRun(model, data, trainer, model.config, checkpoint)
