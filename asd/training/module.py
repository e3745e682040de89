"""The anomaly detector as a LightningModule: glue between encoder, adapter, head, scorer and the trainer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.data.classes import ClassTable
from asd.data.clip import ClipBatch
from asd.data.datamodule import ClipDataModule
from asd.encoders.adapter import Adapter
from asd.encoders.augment import Mixup
from asd.encoders.base import Encoder
from asd.encoders.pretrained import settled
from asd.errors import UserError
from asd.evaluation import embedding_store
from asd.evaluation.clip_scores import ClipScore, clip_score, measure
from asd.evaluation.metrics import SectionMetrics, official_score
from asd.heads import FeatureExchange, Head
from asd.machine import sections_of
from asd.scoring.base import Scorer
from asd.scoring.reference_bank import Bank
from asd.scoring.spectrum import mean_level
from asd.scoring.threshold import Threshold
from asd.training import checkpoints, distributed
from asd.training.accuracy import Accuracies
from asd.training.by_hand import configuration
from asd.training.clip_length import check_length
from asd.training.collect import Rows, add_others, with_others
from asd.training.encoded import check_encoded, check_probe, features_of, origin_of
from asd.training.lightning_seams import is_training, trainer_of
from asd.training.losses import Losses
from asd.training.network import Network
from asd.training.optim import DEFAULT_OPTIMIZER, OptimizerOptions, build_optimizer, build_schedule, parameter_groups
from asd.training.quickened import compile_encoder, divide, share_gradients
from asd.training.resume import go_on
from asd.training.scorers import fitted_scorers
from asd.training.statistics import fit_statistics
from asd.training.summary import summary
from asd.training.warmup import epoch_steps, warmup_of
from asd.utils.fingerprint import fingerprint
from asd.utils.log import logger
from asd.utils.seeds import seed_all

_TRAINING = 2
"""Tells the random numbers of a training step apart from those of the data."""


class AnomalyDetector(Network, pl.LightningModule):
    """Trains an encoder on auxiliary classes; at each validation embeds the normal clips and fits the scorer on them.

    Args:
        encoder: Turns waveforms into features.
        adapter: Turns features into embeddings; ``None``: mean pooling alone.
        head: Classification loss; ``None``: AdaCos.
        scorer: Prototype of the scorer of each machine and section; ``None``: K-means.
        threshold: How a machine's decision threshold follows from its training scores; ``None``: 0.9 quantile of a
            gamma distribution fitted to them.
        mixup: Mixing of training waveforms and labels; ``None``: off.
        optimizer: Optimizer and learning-rate schedule.
        exchange: Exchange of the encoder's branches between training clips; ``None``: off.
        compile: Compile the encoder for training, after its front end: true, or the name of a backend of
            `torch.compile`. Checkpoints are the same.
    """

    def __init__(
        self,
        encoder: Encoder,
        adapter: Adapter | None = None,
        head: Head | None = None,
        scorer: Scorer | None = None,
        threshold: Threshold | None = None,
        mixup: Mixup | None = None,
        optimizer: OptimizerOptions = DEFAULT_OPTIMIZER,
        exchange: FeatureExchange | None = None,
        compile: bool | str = False,  # noqa: A002 - what torch calls it
    ) -> None:
        super().__init__(encoder, adapter, head, scorer, threshold)
        self.mixup = mixup
        self.exchange = exchange
        if exchange is not None:
            exchange.take(type(encoder).__name__, encoder.branches, self.head, encoder.members)
        self.optimizer_options = optimizer
        self.compiles = compile
        self.scores: list[ClipScore] = []
        self.metrics: dict[str, SectionMetrics] = {}
        self.embedded: dict[str, embedding_store.Stored] = {}
        self.also: tuple[str, ...] = ()  # vectors that `predict` keeps beside the one that is scored
        self.rows_folder: Path | None = None  # for files of what `predict` cannot hold in memory
        self._rows = Rows(self.adapter.scored_dim)
        self._group_sizes: list[int] | None = None
        self._losses = Losses()
        self.accuracies: Accuracies | None = None

    device = pl.LightningModule.device
    configure_model = divide

    # -- what is built once the data is known

    def setup(self, stage: str) -> None:
        """Build head and scorers for the data module's classes, unless they are there already."""
        data = self._data()
        check_length(self.encoder, data, training=stage == "fit")
        check_encoded(self, data, warmup_of(self.trainer) if stage == "fit" else None)
        if stage == "fit":
            if self.classes:
                data.classes.check_same(ClassTable(self.classes))
            if self.head.classifies and distributed.rank() == 0:
                data.classes.warn_of_one()
        if not self.classes:
            self.build(data.classes.names, sections_of(data.reference_clips))
        if stage == "fit":
            compile_encoder(self.encoder, self.compiles, divided=self.device_mesh is not None)
            share_gradients(self.trainer, self)

    def _data(self) -> ClipDataModule:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ClipDataModule):
            raise UserError("the detector needs a ClipDataModule: trainer.fit(detector, datamodule=...)")
        return data

    # -- checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to build the detector again from the file alone."""
        self._losses.settle()
        config = configuration(self) if self.config is None else self.config
        data = getattr(trainer_of(self), "datamodule", None)
        config = settled(checkpoints.with_band(config, getattr(data, "band_hz", None)), self.encoder)
        checkpoint[checkpoints.KEY] = checkpoints.describe(config, self.classes, self.sections.names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build head and scorers as they are in the file; see `Network.build_as_in`.

        Raises:
            UserError: A file of another program, or, when training goes on, of another class table.
        """
        if is_training(self):
            described = checkpoints.read_description(checkpoint)
            self._data().classes.check_same(ClassTable(tuple(described["classes"])))
            for state in checkpoint.get("optimizer_states", ()):
                self._group_sizes = [len(group["params"]) for group in state["param_groups"]]
        self.build_as_in(checkpoint)

    # -- training

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Loss of a batch of labelled clips."""
        targets = F.one_hot(batch.label, max(1, len(self.classes))).float()
        waveform = batch.waveform
        if self.mixup is not None:
            waveform, targets = self.mixup(waveform, targets)
        place = f"epoch {self.current_epoch}, batch {batch_idx}"
        loss = self._losses.checked(lambda: self._loss(waveform, targets), len(waveform), place)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(waveform))
        return loss

    def _loss(self, waveform: Tensor, targets: Tensor) -> Tensor:
        features = features_of(self, waveform)
        embeddings = self.adapter(features)
        if self.accuracies is not None:
            with torch.no_grad():
                self.accuracies.add(self.head.logits(embeddings), targets)
        loss: Tensor = self.head(embeddings, targets)
        return loss if self.exchange is None else loss + self.exchange.loss(features, targets, self.adapter)

    def on_train_start(self) -> None:
        """Say what is trained, fit the front end's statistics, once, and find where a resumed run goes on."""
        check_probe(self, self._data())
        classes = self._data().classes
        self.accuracies = Accuracies(classes) if self.head.classifies and self.classes else None
        logger.info(summary(self.trainer, classes if self.head.classifies else None))
        loader = self._data().statistics_dataloader(distributed.rank(), distributed.world_size())
        fit_statistics(self.encoder, (batch.waveform for batch in loader), self.device)
        go_on(self.trainer)

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Draw each batch's random numbers from seed, epoch, batch and rank, so that a resumed run draws the same."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        seed_all(seed, self.current_epoch, batch_idx, distributed.rank(), _TRAINING)

    def on_train_epoch_end(self) -> None:
        """Log which part of the clips got their class."""
        self._losses.settle()
        for name, value in self.accuracies.finish().items() if self.accuracies is not None else ():
            self.log(f"train/{name}", value, prog_bar=name == "accuracy_attribute")

    def configure_optimizers(self) -> Any:
        """Optimizer over every parameter, frozen or not, and its schedule by step."""
        options, trainer = self.optimizer_options, self.trainer
        heads = [self.head] if self.exchange is None else [self.head, self.exchange]
        groups = parameter_groups(self.encoder, [self.adapter, *heads], options, self._group_sizes)
        optimizer = build_optimizer(groups, options)
        steps = trainer.estimated_stepping_batches
        each = epoch_steps(trainer) if options.encoder_warmup_epochs else 0
        schedule = build_schedule(optimizer, options, steps, each, warmup_of(trainer).thaw_epoch)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # -- scoring

    def on_validation_epoch_start(self) -> None:
        """Forget the last rows, and take rank zero's batch-normalisation statistics, which the checkpoint will hold."""
        self._rows = Rows.of(self.adapter, self._data())
        distributed.share_buffers([self.encoder, self.adapter])

    def on_test_epoch_start(self) -> None:
        """Forget the last rows."""
        check_probe(self, self._data())
        self._rows = Rows.of(self.adapter, self._data())

    def validation_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a batch of reference or query clips."""
        self._collect(batch, dataloader_idx, self.trainer.val_dataloaders)

    def test_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a batch of reference or query clips."""
        self._collect(batch, dataloader_idx, self.trainer.test_dataloaders)

    def on_predict_epoch_start(self) -> None:
        """Forget the last rows."""
        self._rows, self.embedded = Rows.of(self.adapter, self._data(), self.rows_folder), {}

    def predict_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a batch of reference or query clips."""
        self._collect(batch, dataloader_idx, self.trainer.predict_dataloaders, self.also)

    def on_predict_epoch_end(self) -> None:
        """Gather the embeddings of reference and query clips from all processes, each clip once."""
        weights, origin = fingerprint([self.encoder, self.adapter]), origin_of(self, self._data())
        for kind in embedding_store.SUBSETS:
            self._keep(kind, *self._rows.gathered(kind), weights)
            self.embedded[kind] = with_others(self.embedded[kind], self._rows, kind, self.adapter, self.also, origin)

    def _keep(self, kind: str, index: Tensor, embeddings: Tensor, weights: str = "") -> None:
        data = self._data()
        clips = data.reference_clips if kind == "reference" else data.query_clips
        rows = tuple(embedding_store.StoredClip.of(clips[row]) for row in index.tolist())
        what = self.adapter.embedding, self.adapter.scored_bands
        self.embedded[kind] = embedding_store.Stored(embeddings, rows, weights, data.seconds, *what)

    def _collect(self, batch: ClipBatch, loader: int, loaders: Any, also: Sequence[str] = ()) -> None:
        last = len(loaders) - 1 if isinstance(loaders, Sequence) else 0
        kind = "query" if loader == last else "reference"
        features = features_of(self, batch.waveform)
        self._rows.add(kind, batch.index, self.adapter.embed(features).float())
        add_others(self._rows, kind, batch.index, features, self.adapter, also)
        if kind == "reference" and not (self.sections.knows_spectra or self._data().encoded):
            self._rows.add("spectra", batch.index, mean_level(batch.waveform, self.encoder.sample_rate))

    def on_validation_epoch_end(self) -> None:
        """Fit the scorers on the reference clips, score the query clips, and log the metrics.

        The sanity check sees two batches, which are no bank: nothing is fitted then.
        """
        if not self.trainer.sanity_checking:
            self._fit_and_score(refit=True)
            self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Score the query clips, fitting the scorers first where the checkpoint holds none."""
        self._fit_and_score(refit=not self.fitted)
        self._log_metrics("test")

    def _fit_and_score(self, refit: bool) -> None:
        if refit:
            self._fit()
        index, embeddings = self._rows.gathered("query")
        self._keep("query", index, embeddings)
        clips = [self._data().query_clips[i] for i in index.tolist()]
        own = torch.tensor([self.sections.index(clip.machine_section) for clip in clips], dtype=torch.int64)
        with torch.no_grad():
            scorers = self.sections.to(embeddings.device)
            scores = scorers(embeddings, own)
        self.sections.to(self.device)
        made = zip(clips, scores.tolist(), scorers.decide(scores, own), strict=True)
        self.scores = [clip_score(clip, score, decision) for clip, score, decision in made]
        self.metrics = measure(self.scores)

    def _fit(self) -> None:
        data = self._data()
        index, embeddings = self._rows.gathered("reference")
        self._keep("reference", index, embeddings)
        spectra = None if self.sections.knows_spectra or data.encoded else self._rows.gathered("spectra")[1]
        bank = Bank.build(embeddings, self.embedded["reference"].clips, self.sections.names, index, spectra)
        self.sections = fitted_scorers(self, bank, data).to(self.device)

    def _log_metrics(self, stage: str) -> None:
        parts = [(machine, name, value) for machine, one in self.metrics.items() for name, value in one.parts.items()]
        if self.metrics:
            self.log(f"{stage}/official_score", official_score(self.metrics), prog_bar=True, rank_zero_only=True)
        self.log_dict({f"{stage}/{machine}/{name}": value for machine, name, value in parts}, rank_zero_only=True)
