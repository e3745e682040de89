"""Training from Python: one call, and the same run folder as that of `asd fit`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger

from asd import plugins
from asd.data.datamodule import ClipDataModule
from asd.encoders.adapter import Adapter
from asd.encoders.augment import Mixup
from asd.encoders.base import Encoder
from asd.evaluation.clip_scores import ClipScore
from asd.evaluation.metrics import SectionMetrics
from asd.heads import FeatureExchange, Head
from asd.inference.detector import Detector
from asd.run_folder import RunFolder
from asd.scoring.base import Scorer
from asd.scoring.threshold import Threshold
from asd.training import requeue
from asd.training.callbacks import RunCheckpoint, RunOutputs
from asd.training.checkpoint_io import AtomicCheckpointIO
from asd.training.module import AnomalyDetector
from asd.training.optim import DEFAULT_OPTIMIZER, OptimizerOptions
from asd.training.warmup import WarmUp

T = TypeVar("T")


class Run:
    """A finished run.

    Args:
        folder: Where it lies.
        scores: Of the test clips; none where there are none.
        metrics: By machine, or machine and section; empty where no test clip has a known label.
    """

    def __init__(self, folder: RunFolder, scores: list[ClipScore], metrics: dict[str, SectionMetrics]) -> None:
        self.folder = folder
        self.scores = scores
        self.metrics = metrics

    @cached_property
    def detector(self) -> Detector:
        """The trained detector, from the last checkpoint."""
        return Detector.load(self.folder.checkpoint)


def fit(
    encoder: str | Encoder,
    data: ClipDataModule,
    epochs: int = 10,
    *,
    adapter: Adapter | None = None,
    head: str | Head | None = None,
    scorer: str | Scorer | None = None,
    threshold: str | Threshold | None = None,
    mixup: Mixup | None = None,
    exchange: FeatureExchange | None = None,
    optimizer: OptimizerOptions = DEFAULT_OPTIMIZER,
    warmup_epochs: int = 0,
    folder: Path | str = "runs",
    name: str = "asd",
    seed: int = 1,
    callbacks: Sequence[pl.Callback] = (),
    **trainer: Any,
) -> Run:
    """Train a detector, and test it where there are test clips.

    ``run = asd.fit("DualBranchCNN", asd.data.Recordings("plant"), epochs=12)``, then
    ``run.detector.score("today.wav", machine="pump")``.

    Args:
        encoder: An encoder, or the name of one, which is then built for clips as long as the data's.
        data: The recordings.
        epochs: How often every training clip is seen.
        adapter: Turns features into embeddings; ``None``: mean pooling alone.
        head: Classification loss, or its name; ``None``: AdaCos.
        scorer: Of each machine and section, or its name; ``None``: K-means.
        threshold: Where alarms begin, or its name; ``None``: 0.9 quantile of a gamma distribution.
        mixup: Mixing of training waveforms and labels; ``None``: off.
        exchange: Exchange of the encoder's branches between training clips; ``None``: off.
        optimizer: Optimizer and learning-rate schedule.
        warmup_epochs: Epochs in which the encoder stays as it is; 2 for pre-trained ones.
        folder: Where run folders lie.
        name: Folder of this kind of runs in it; each run gets a ``version_N`` of its own there.
        seed: Of everything random.
        callbacks: Further ones.
        trainer: Further arguments of `lightning.pytorch.Trainer`, such as ``accelerator="cpu"``.

    Returns:
        The run, with its folder, scores, metrics and detector.

    Raises:
        UserError: Data that cannot be listed, an unknown name, or settings that exclude each other.
    """
    pl.seed_everything(seed)
    model = AnomalyDetector(
        _made(encoder, Encoder, seconds=data.seconds),  # type: ignore[type-abstract]
        adapter,
        None if head is None else _made(head, Head),  # type: ignore[type-abstract]
        None if scorer is None else _made(scorer, Scorer),  # type: ignore[type-abstract]
        None if threshold is None else _made(threshold, Threshold),  # type: ignore[type-abstract]
        mixup,
        optimizer,
        exchange,
    )
    usual = {"num_sanity_val_steps": 0, "log_every_n_steps": 10, "logger": CSVLogger(str(folder), name)}
    given = {**usual, **trainer}
    own = requeue.folder(given.get("default_root_dir")) if given["logger"] else None
    if own is not None:
        given["default_root_dir"] = own
    engine = pl.Trainer(
        max_epochs=epochs,
        callbacks=[WarmUp(warmup_epochs), RunCheckpoint(), RunOutputs(), *callbacks],
        plugins=[AtomicCheckpointIO(), *given.pop("plugins", ())],
        **given,
    )
    engine.fit(model, datamodule=data)
    requeue.spend(engine)
    place = RunFolder(str(engine.log_dir or engine.default_root_dir))
    if data.query_clips:
        engine.test(model, datamodule=data, verbose=False)
    return Run(place, model.scores, model.metrics)


def _made(given: str | T, contract: type[T], **known: Any) -> T:
    """An object as it is, or one of the class of that name, with those of the `known` arguments that it takes."""
    if not isinstance(given, str):
        return given
    cls = plugins.resolve(given, contract)
    return cls(**{name: value for name, value in known.items() if name in signature(cls).parameters})
