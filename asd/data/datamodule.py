"""The LightningDataModule that serves clips: training, reference and query loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from asd.data.audio import AudioError, decode, read_header
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
        crop_seconds: Length of the random crops that training sees, `seconds` at most; ``None``: `seconds`.

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
        crop_seconds: float | None = None,
    ) -> None:
        super().__init__()
        _check("seconds", seconds, seconds > 0, "more than 0")
        _check("batch_size", batch_size, batch_size >= 1, "at least 1")
        _check("workers", workers, workers >= 0, "at least 0")
        _check("pad", pad, pad in get_args(Pad), "repeat or zeros")
        _check("channel", channel, channel is None or channel >= 0, "at least 0, or null for the mean of all")
        _check("cache_gb", cache_gb, cache_gb >= 0, "at least 0")
        _check(
            "on_bad_file", on_bad_file, on_bad_file in get_args(OnBadFile), f"one of {', '.join(get_args(OnBadFile))}"
        )
        _check("crop_seconds", crop_seconds, crop_seconds is None or crop_seconds > 0, "more than 0, or null")
        self.seconds = seconds
        self.crop_seconds = crop_seconds
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
        self.reference_clips: list[Clip] = []
        self.query_clips: list[Clip] = []
        self._lengths: dict[Path, int] = {}
        self._cache: WaveformCache | None = None
        self._rates: set[int] = set()
        self._listed = False
        self._resampling_said = False
        self._train_checked = False

    @abstractmethod
    def clips(self) -> list[Clip]:
        """Every clip of the data set, of every split.

        Raises:
            UserError: The data set cannot be listed.
        """

    # -- what is there

    def setup(self, stage: str) -> None:
        """List the clips, name the classes and check the files; what was done for an earlier stage is kept.

        Raises:
            UserError: No normal training clips where they are needed, or a file that cannot be used.
        """
        if not self._listed:
            clips = sorted(self.clips(), key=lambda clip: str(clip.path))
            self.query_clips = [clip for clip in clips if clip.split == Split.TEST]
            self._take_train([c for c in clips if c.split != Split.TEST and c.condition != Condition.ANOMALY])
            self._stop_at(self._faults(self.query_clips))
            self._listed = True
        if stage in ("fit", "validate"):
            self._require_reference()
        self._say_resampling()
        if stage == "fit" and self.cache_gb > 0 and self._cache is None:
            self._cache = self._new_cache()

    def _say_resampling(self) -> None:
        others = sorted(self._rates - {self.sample_rate})
        if others and not self._resampling_said:
            self._resampling_said = True
            given = " and ".join(f"{rate}" for rate in others)
            rank_zero_info(f"clips of {given} Hz are resampled to the {self.sample_rate} Hz that the encoder takes")

    def _take_train(self, clips: list[Clip]) -> None:
        self.classes = ClassTable.build(clips, self.clean_class, self.noise_class) if clips else ClassTable(())
        self.train_clips = [clip for clip in clips if self.classes.label(clip) >= 0]
        self.reference_clips = [clip for clip in self.train_clips if clip.kind == Kind.MACHINE]

    def _require_reference(self) -> None:
        if not self._train_checked:
            self._check_train()
        missing = {clip.population for clip in self.query_clips} - {clip.population for clip in self.reference_clips}
        if missing or not self.reference_clips:
            raise UserError(
                f"no normal training clips for {', '.join(sorted(missing)) or 'any machine'}; "
                "put some into the machine's train folder, or choose other machines (data.machines)"
            )

    def _check_train(self) -> None:
        skip = self.on_bad_file == "skip"
        faults = self._faults(self.train_clips, decoding=skip)
        if faults and skip:
            rank_zero_warn(
                f"left out {len(faults)} of {len(self.train_clips)} training clips that cannot be used: "
                + "; ".join(faults.values())
            )
            self._take_train([clip for clip in self.train_clips if clip.path not in faults])
        else:
            self._stop_at(faults, "; or leave out such training clips with data.on_bad_file=skip")
        self._train_checked = True

    def _faults(self, clips: Iterable[Clip], decoding: bool = False) -> dict[Path, str]:
        faults = {}
        for clip in clips:
            try:
                header = read_header(clip.path, self.channel)
                self._rates.add(header.sample_rate)
                self._lengths[clip.path] = header.samples_at(self.sample_rate)
                if decoding:
                    decode(clip.path, self.sample_rate, self.channel)
            except AudioError as error:
                faults[clip.path] = str(error)
        return faults

    @staticmethod
    def _stop_at(faults: dict[Path, str], remedy: str = "") -> None:
        if faults:
            count = f"{len(faults)} audio files cannot be used, the first is " if len(faults) > 1 else ""
            raise UserError(f"{count}{next(iter(faults.values()))}{remedy}")

    def _new_cache(self) -> WaveformCache:
        whole = {clip.path: self._lengths[clip.path] for clip in self.train_clips}
        crop = round(self.seconds * self.sample_rate)
        starts = {clip.path: min(crop, self._lengths[clip.path]) for clip in self.query_clips}
        return WaveformCache(whole | starts, self.cache_gb, shared=self.workers > 0)

    # -- loaders

    def train_dataloader(self) -> Loader:
        """Clips with an auxiliary class in random order; with random crops.

        Every clip is seen in every epoch, except that a last batch of a single clip is left out: batch norm cannot
        train on it.
        """
        dataset = self._dataset(self.train_clips, crop="random")
        trainer = self.trainer
        dataset.set_epoch(trainer.current_epoch if trainer else 0)
        share = -(-len(dataset) // (trainer.world_size if trainer else 1))
        single = share > 1 and self.batch_size > 1 and share % self.batch_size == 1
        return TrainLoader(
            dataset, sampler=ShuffleSampler(dataset, dataset.seed), drop_last=single, **self._options(again=True)
        )

    def val_dataloader(self) -> list[Loader]:
        """Reference and query clips."""
        return [self._evaluation_loader(clips, again=True) for clips in (self.reference_clips, self.query_clips)]

    def test_dataloader(self) -> list[Loader]:
        """Reference and query clips; query clips alone where the detector's scorers are fitted already."""
        if getattr(self.trainer and self.trainer.lightning_module, "fitted", False):
            return [self._evaluation_loader(self.query_clips)]
        self._require_reference()
        return [self._evaluation_loader(clips) for clips in (self.reference_clips, self.query_clips)]

    def predict_dataloader(self) -> list[Loader]:
        """Reference clips, where there are any, and query clips."""
        lists = [self.reference_clips, self.query_clips] if self.reference_clips else [self.query_clips]
        return [self._evaluation_loader(clips) for clips in lists]

    def statistics_dataloader(self, rank: int = 0, world_size: int = 1) -> Loader:
        """Every `world_size`-th training clip from `rank` on, in order, from its start."""
        dataset = self._dataset(self.train_clips)
        return DataLoader(dataset, sampler=range(rank, len(dataset), world_size), **self._options())

    def _evaluation_loader(self, clips: list[Clip], again: bool = False) -> Loader:
        return DataLoader(self._dataset(clips), shuffle=False, **self._options(again))

    def _dataset(self, clips: list[Clip], crop: Crop = "start") -> ClipDataset:
        labels = [-1 if clip.split == Split.TEST else self.classes.label(clip) for clip in clips]
        longest = self.crop_seconds if crop == "random" else None
        seconds = self.seconds if longest is None else min(longest, self.seconds)
        return ClipDataset(
            clips, labels, self.sample_rate, seconds, self.pad, crop, self.channel, self._cache,
            seed=int(os.environ.get("PL_GLOBAL_SEED", "0")),
        )  # fmt: skip

    def _options(self, again: bool = False) -> dict[str, Any]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "collate_fn": as_is,
            "pin_memory": on_cuda,
            "persistent_workers": again and self.workers > 0,
        }


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UserError(f"data.{name} must be {allowed}, got {value!r}")
