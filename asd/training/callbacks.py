"""What every run writes: checkpoints, the resolved configuration, score files, tables and pictures."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from asd import plots
from asd.encoders.adapted import merges
from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.evaluation import calibration, embedding_store
from asd.run_folder import RunFolder
from asd.training import checkpoints, outputs
from asd.training.lightning_seams import whole_checkpoint
from asd.training.logged import log_config, log_test, wandb_run
from asd.training.module import AnomalyDetector
from asd.training.summary import opening
from asd.utils import environment
from asd.utils.files import aside, replace_text
from asd.utils.log import logger

_OWN = RunFolder("")
_BEFORE_TRAINING = {_OWN.config.name, "hparams.yaml", _OWN.environment.name}


class RunCheckpoint(ModelCheckpoint):
    """Keeps the last epoch, with the scorers fitted in it: test labels must not choose the epoch.

    The last epoch is validated whatever `check_val_every_n_epoch` says, because that is where scorers are fitted.

    Args:
        every_n_epochs: Epochs between two checkpoints.
        keep_all: Keep every checkpoint instead of the last alone.
        merge: When training ends, also write ``merged.ckpt``, in which LoRA, DoRA or BitFit are folded into the
            weights of the encoder: it scores without them, and cannot go on training them.
    """

    def __init__(self, every_n_epochs: int = 1, keep_all: bool = False, merge: bool = False) -> None:
        super().__init__(
            filename="{epoch:03d}" if keep_all else "last",
            save_top_k=-1 if keep_all else 1,
            every_n_epochs=every_n_epochs,
            # After the epoch's validation, so that weights and scorers belong together.
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.merge = merge

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse to merge what cannot be merged before any work is done."""
        super().setup(trainer, pl_module, stage)
        encoder = getattr(pl_module, "encoder", None)
        plain = isinstance(encoder, Encoder) and not any(map(merges, encoder.modules()))
        if stage == "fit" and self.merge and plain:
            raise UserError(
                f"checkpoint.merge: {type(encoder).__name__} has nothing to merge; set it where the encoder, or one "
                "within it, is of LoRA or BitFit"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same of a run that is resumed within its last epoch."""
        super().on_train_start(trainer, pl_module)
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Have the last epoch validated."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the merged checkpoint, if asked for."""
        super().on_train_end(trainer, pl_module)
        if self.merge and isinstance(pl_module, AnomalyDetector) and not is_rehearsal(trainer):
            content = whole_checkpoint(trainer)
            merged = checkpoints.merged(content, pl_module.encoder)
            if trainer.is_global_zero:
                checkpoints.save(merged, Path(str(self.dirpath)) / "merged.ckpt")


class RunOutputs(pl.Callback):
    """Writes the resolved configuration when training starts, and scores, metrics and pictures after a test.

    Args:
        pictures: Draw score histograms, ROC and DET curves, and, where the scorers were fitted in this run, maps of the
            embeddings and which centres hold which clips.
        scores: Write the score and decision files of the challenge.
        folder: Where a test or a prediction writes; ``None``: the folder of the run that the checkpoint is of, or else
            of this one. Training has its logger's.
        also: Other vectors of a clip that a prediction stores beside the one that is scored, named as the adapter's
            `embedding` is: ``projected``, ``pooled``, ``bands/rdp4``.
        embeddings: Store the embeddings after training as well, as a prediction does.

    Attributes:
        summary: The table of the last test and the run folder, for the screen once progress bars are gone.
    """

    def __init__(
        self,
        pictures: bool = True,
        scores: bool = True,
        folder: Path | str | None = None,
        also: Sequence[str] = (),
        embeddings: bool = False,
    ) -> None:
        self.embeddings = embeddings
        self.also = tuple(also)
        self.pictures = pictures
        self.scores = scores
        self.folder = None if folder is None else Path(folder)
        self.summary = ""
        self._made_with: dict[str, object] = {}
        self._began = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure, before any work is done, that the run folder can be written and that what shall be there is."""
        if stage == "predict" and isinstance(pl_module, AnomalyDetector):
            pl_module.also = tuple(name for name in dict.fromkeys(self.also) if name != pl_module.adapter.embedding)
            for name in pl_module.also:
                pl_module.adapter.size_of(name)
        run = run_folder(trainer) if stage == "fit" else self.run(trainer)
        if stage == "predict" and isinstance(pl_module, AnomalyDetector) and not is_rehearsal(trainer):
            pl_module.rows_folder = run.embeddings
        if not trainer.is_global_zero or is_rehearsal(trainer):
            return
        try:
            with aside(run.path / "probe") as probe:
                probe.write_bytes(b"\0")
        except OSError as error:
            raise UserError(
                f"cannot write to the run folder {run}: {error.strerror}; "
                "set trainer.logger's save_dir, or for a test outputs.folder"
            ) from error
        config = getattr(pl_module, "config", None)
        if stage == "fit" and config is not None:
            replace_text(run.config, yaml.safe_dump(config, sort_keys=False))
            made_with = environment.found(trainer.strategy.root_device, wandb_run(trainer.loggers))
            replace_text(run.environment, json.dumps(made_with, indent=2))
            self._made_with = made_with
            log_config(trainer.loggers, config)

    def run(self, trainer: pl.Trainer) -> RunFolder:
        """Where this run writes; every rank must ask, because rank zero tells the others."""
        own = run_folder(trainer)
        return own if self.folder is None else RunFolder(self.folder)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is trained, and where a resumed run goes on."""
        self._began = time.monotonic()
        data = getattr(trainer, "datamodule", None)
        if isinstance(pl_module, AnomalyDetector) and data is not None:
            logger.info(opening(trainer, pl_module, data.train_clips))
        if trainer.ckpt_path is not None:
            logger.info(f"goes on from epoch {trainer.current_epoch} of {trainer.ckpt_path}, in {run_folder(trainer)}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep how long it took."""
        run = run_folder(trainer)
        if self._made_with and trainer.is_global_zero:
            taken = {**self._made_with, "trained_seconds": round(time.monotonic() - self._began, 1)}
            replace_text(run.environment, json.dumps(taken, indent=2))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write and print what the test gave."""
        run = self.run(trainer)
        if not trainer.is_global_zero or not isinstance(pl_module, AnomalyDetector) or is_rehearsal(trainer):
            return
        seconds = getattr(getattr(trainer, "datamodule", None), "seconds", math.nan)
        known = calibration.of_scorers(pl_module.sections, seconds)
        own = getattr(getattr(trainer, "datamodule", None), "own", False)
        written = outputs.write(run.path, pl_module.scores, known, scores=self.scores, draw=self.pictures, own=own)
        drawn = written.pictures
        if drawn and set(embedding_store.SUBSETS) <= pl_module.embedded.keys():
            drawn += plots.draw_embeddings(embedding_store.Store(**pl_module.embedded), run.pictures)
        log_test(trainer.loggers, pl_module.scores, pl_module.metrics, written.table, drawn)
        told = outputs.promised(pl_module.sections, seconds)
        self.summary = "\n".join([written.table, *told, outputs.following(pl_module.sections, run.path), str(run)])

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the embeddings, and say where."""
        folder = self.run(trainer).embeddings
        if not trainer.is_global_zero or not isinstance(pl_module, AnomalyDetector) or is_rehearsal(trainer):
            return
        for kind, stored in pl_module.embedded.items():
            embedding_store.write(folder / f"{kind}.safetensors", stored)
        counts = " and ".join(f"{len(one.clips)} {kind} clips" for kind, one in pl_module.embedded.items())
        self.summary = f"embeddings of {counts}\n{folder}"


def is_rehearsal(trainer: pl.Trainer) -> bool:
    """Whether the run is a `fast_dev_run`, which leaves nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))


def withdraw(trainer: pl.Trainer) -> None:
    """Remove the run folder of a run that failed before there was anything in it to keep; its logger made it."""
    place = getattr(trainer.logger, "log_dir", None)  # not that of the trainer, which asks the other processes
    folder = None if place is None or not trainer.is_global_zero else Path(place)
    if folder is not None and folder.is_dir() and {one.name for one in folder.iterdir()} <= _BEFORE_TRAINING:
        shutil.rmtree(folder, ignore_errors=True)


def run_folder(trainer: pl.Trainer) -> RunFolder:
    """The folder that the logger made for the run; every rank must ask, because rank zero tells the others."""
    return RunFolder(trainer.log_dir or trainer.default_root_dir)
