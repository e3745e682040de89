"""The LightningDataModule that serves clips: training, reference and query loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader

from asd.data.audio import AudioError, read_header
from asd.data.cache import WaveformCache
from asd.data.clip import Clip, ClipBatch, Condition, Kind, Split
from asd.data.dataset import ClipDataset, Crop, Pad, as_is
from asd.data.labels import ClassTable, SupplementalClasses
from asd.data.loader import ShuffleSampler, TrainLoader
from asd.errors import UserError

OnBadFile = Literal["stop", "skip"]
Loader = DataLoader[ClipBatch]


class ClipDataModule(pl.LightningDataModule, ABC):
    """Serves the clips that a subclass lists in `clips`.

    Training sees all clips that have an auxiliary class. Validation, test and prediction see the reference clips, from
    which scorers learn what is normal, and then the query clips, which are scored.

    Args:
        seconds: Length of the waveforms; shorter clips are padded, longer ones cropped.
        batch_size: Clips in a batch, on each process.
        workers: Processes that read ahead for each loader; 0: read in the main process, as fast once clips are cached.
        pad: What follows a clip that is too short: the clip again, or zeros.
        channel: The channel to take, from 0; ``None``: the mean of all.
        clean_class: Classes of clean machine sound: one per machine, one shared by all, or none.
        noise_class: Classes of background noise: one per machine, one shared by all, or none.
        cache_gb: Bound of the decoded clips kept in RAM while training, in 10^9 bytes on each process; 0: none.
        on_bad_file: Stop at a training clip that cannot be used, or list such clips and skip them. Test clips are
            never skipped.

    Attributes:
        sample_rate: Hz of the waveforms; set to the encoder's before `setup`.
        classes: The auxiliary classes, after `setup`.
        train_clips: Clips with an auxiliary class, after `setup`.
        reference_clips: Normal training clips of the machines, after `setup`.
        query_clips: Test clips, after `setup`.
    """

    sample_rate: int = 16000

    def __init__(
        self,
        seconds: float = 10.0,
        batch_size: int = 32,
        workers: int = 0,
        pad: Pad = "repeat",
        channel: int | None = None,
        clean_class: SupplementalClasses = "per_machine",
        noise_class: SupplementalClasses = "per_machine",
        cache_gb: float = 1.0,
        on_bad_file: OnBadFile = "stop",
    ) -> None:
        super().__init__()
        _check("seconds", seconds, seconds > 0, "more than 0")
        _check("batch_size", batch_size, batch_size >= 1, "at least 1")
        _check("workers", workers, workers >= 0, "at least 0")
        _check("pad", pad, pad in get_args(Pad), f"one of {', '.join(get_args(Pad))}")
        _check("channel", channel, channel is None or channel >= 0, "at least 0, or null for the mean of all")
        _check("cache_gb", cache_gb, cache_gb >= 0, "at least 0")
        _check("on_bad_file", on_bad_file, on_bad_file in get_args(OnBadFile), f"one of {', '.join(get_args(OnBadFile))}")
        self.seconds = seconds
        self.batch_size = batch_size
        self.workers = workers
        self.pad = pad
        self.channel = channel
        self.clean_class = clean_class
        self.noise_class = noise_class
        self.cache_gb = cache_gb
        self.on_bad_file = on_bad_file
        self.classes = ClassTable(())
        self.train_clips: list[Clip] = []
        self.query_clips: list[Clip] = []
        self._cache: WaveformCache | None = None
        self._listed = False
        self._train_checked = False

    @abstractmethod
    def clips(self) -> list[Clip]:
        """Every clip of the data set, of every split; called once, in `setup`.

        Raises:
            UserError: The data set cannot be listed.
        """

    @property
    def reference_clips(self) -> list[Clip]:
        """Normal training clips of the machines."""
        return [clip for clip in self.train_clips if clip.kind == Kind.MACHINE]

    def setup(self, stage: str) -> None:
        """List the clips, name the classes and check the files.

        Raises:
            UserError: No normal training clips where they are needed, or a file that cannot be used.
        """
        if not self._listed:
            clips = self.clips()
            self.query_clips = [clip for clip in clips if clip.split == Split.TEST]
            self._take_train(clip for clip in clips if clip.split != Split.TEST and clip.condition != Condition.ANOMALY)
            self._stop_at(_faults(self.query_clips, self.channel), "test")
            self._listed = True
        if stage in ("fit", "validate"):
            self._require_reference()
        if stage == "fit" and self.cache_gb > 0 and self._cache is None:
            self._cache = self._new_cache()
        ...

    def _take_train(self, clips: Iterable[Clip]) -> None:
        candidates = list(clips)
        self.classes = ClassTable.build(candidates, self.clean_class, self.noise_class) if candidates else ClassTable(())
        self.train_clips = [clip for clip in candidates if self.classes.label(clip) >= 0]
