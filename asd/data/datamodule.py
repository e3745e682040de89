"""The LightningDataModule that serves clips: training, reference and query loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from asd.data.audio.band import check_band
from asd.data.audio.channels import Channels, channel_of
from asd.data.audio.usual_recording import UsualRecording
from asd.data.calibration import choose
from asd.data.classes import ClassTable, SupplementalClasses
from asd.data.clip import Clip, ClipBatch, Condition, Encoded, Kind, Sound, Split
from asd.data.dataset import Cache, ClipDataset, Crop, Pad, as_is
from asd.data.far_noise import with_far_noise
from asd.data.mixing import Mixer, NoiseMix, noise_rows
from asd.data.options import OnBadFile, check_option, spell_out
from asd.data.probe import Headers, disk_caches, ram_caches, stop_at
from asd.data.pseudo_label_file import with_labels
from asd.data.sampling import Balance, BalancedSampler, ClipLoader, ShuffleSampler, TrainLoader
from asd.described import Described
from asd.errors import UserError
from asd.machine import MachineSection, sections_of
from asd.utils.log import notice

Loader = DataLoader[ClipBatch]


class ClipDataModule(Described, pl.LightningDataModule, ABC):
    """Serves the clips that a subclass lists in `clips`.

    Training sees all clips that have an auxiliary class. Validation, test and prediction see the reference clips, from
    which scorers learn what is normal, and then the query clips, which are scored.

    Args:
        seconds: Length of the waveforms; shorter clips are padded, longer ones cropped.
        batch_size: Clips in a batch, on each process.
        workers: Processes that read ahead for each loader; 0: threads of this one decode, on a GPU two batches ahead.
        pad: What follows a clip that is too short: the clip again, or zeros.
        channel: What `channels` was called before.
        clean_class: Classes of clean machine sound: one per machine, one shared by all, or none.
        noise_class: Classes of background noise: one per machine, one shared by all, or none.
        cache_gb: Bound of the decoded clips kept in RAM while training, in 10^9 bytes on each process; 0: none.
        on_bad_file: Stop at a training clip that cannot be used, or list such clips and skip them. Test clips are
            never skipped.
        crop_seconds: Length of the random crops that training sees, `seconds` at most; ``None``: `seconds`.
        labels: File of labels for training clips without attributes, as `asd data pseudo-label` writes it.
        balance: Draw every class, or every machine and domain, equally often in training, with repeats.
        noise_mix: Noise clips that are added to training clips at random levels; ``None``: none.
        disk_cache: Folder for decoded clips, shared by runs and processes, in the place of `cache_gb`.
        calibration: Part of the normal clips that is not trained on: thresholds are set by it (`asd.data.calibration`).
        band: Hz of bandwidth to which all recordings are limited, so that those of half as much sample the same to the
            detector; ``shared``: what all training recordings have, where some have less; ``None``: no limit.
        channels: What is heard of recordings of several channels: their ``mean``; one, by its number from 0 or as
            ``near`` (0) or ``far`` (1); or ``near_minus_far``, without the noise that the far microphone hears.
        far_noise: Of machines without noise clips, the part of the training clips whose far channel is such a clip.
        domain_classes: Equal attributes of different domains are different classes.

    Attributes:
        encoded: Of vectors ``(B, P)``, where batches hold these in the place of waveforms, after `setup`.
        sample_rate: Hz of the waveforms: the encoder's, from `setup` on.
        classes: The auxiliary classes, after `setup`.
        train_clips: Clips with an auxiliary class, after `setup`; none of those for calibration.
        reference_clips: Normal clips of the machines that are trained on or kept for calibration, after `setup`.
        query_clips: Test clips, after `setup`.
        noise_clips: Clips of background noise, whether they make a class or not, after `setup`.
        band_hz: The limit of `band` in Hz, after `setup`.
    """

    sample_rate: int = 16000
    encoded: Encoded | None = None

    def __init__(
        self,
        seconds: float = 10.0,
        batch_size: int = 32,
        workers: int = 0,
        pad: Pad = "repeat",
        channel: Channels | None = None,
        clean_class: SupplementalClasses = "per_machine",
        noise_class: SupplementalClasses = "per_machine",
        cache_gb: float = 1.0,
        on_bad_file: OnBadFile = "stop",
        crop_seconds: float | None = None,
        labels: Path | str | None = None,
        balance: Balance = "off",
        noise_mix: NoiseMix | None = None,
        disk_cache: Path | str | None = None,
        calibration: float = 0.0,
        band: float | Literal["shared"] | None = None,
        channels: Channels | None = "mean",
        far_noise: float = 0.0,
        domain_classes: bool = False,
    ) -> None:
        super().__init__()
        check_option("seconds", seconds, seconds > 0, "more than 0")
        check_option("batch_size", batch_size, batch_size >= 1, "at least 1")
        check_option("workers", workers, workers >= 0, "at least 0")
        check_option("pad", pad, pad in get_args(Pad), "repeat or zeros")
        check_option("cache_gb", cache_gb, cache_gb >= 0, "at least 0")
        check_option("on_bad_file", on_bad_file, on_bad_file in get_args(OnBadFile), "stop or skip")
        check_option("crop_seconds", crop_seconds, crop_seconds is None or crop_seconds > 0, "more than 0, or null")
        check_option("balance", balance, balance in get_args(Balance), "off, class or domain")
        check_option("calibration", calibration, 0 <= calibration <= 0.5, "from 0 to 0.5")
        check_option("far_noise", far_noise, 0 <= far_noise <= 1, "from 0 to 1")
        check_band(band)
        self.seconds = seconds
        self.crop_seconds = crop_seconds
        self.batch_size = batch_size
        self.workers = workers
        self.pad = pad
        self.channel = channel_of(channels, channel)
        self.clean_class, self.noise_class, self.domain_classes = clean_class, noise_class, domain_classes
        self.cache_gb = cache_gb
        self.on_bad_file = on_bad_file
        self.labels = None if labels is None else Path(labels)
        self.balance = balance
        self.noise_mix = noise_mix
        self.disk_cache = None if disk_cache is None else Path(disk_cache)
        self.calibration, self.far_noise = calibration, far_noise
        self.band, self.band_hz = band, None if isinstance(band, str) else band
        self.classes = ClassTable(())
        self.train_clips: list[Clip] = []
        self.reference_clips: list[Clip] = []
        self.query_clips: list[Clip] = []
        self.noise_clips: list[Clip] = []
        self._headers = Headers()
        self._caches: dict[Split, Cache] = {}
        self._listed = False
        self._train_checked = False

    def __init_subclass__(cls, **given: Any) -> None:
        spell_out(cls, ClipDataModule)  # first, because the signature of the class is taken from that of __init__
        super().__init_subclass__(**given)

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
        # Whoever trains in Python need not say it.
        encoder = getattr(getattr(self.trainer, "lightning_module", None), "encoder", None)
        self.sample_rate = getattr(encoder, "sample_rate", self.sample_rate)
        if not self._listed:
            clips = sorted(self.clips(), key=lambda clip: (str(clip.path), clip.start))
            self.query_clips = [clip for clip in clips if clip.split == Split.TEST]
            self._take_train(self._prepared(clips))
            stop_at(self._faults(self.query_clips))
            self._headers.say_longer(self.query_clips, self.seconds, self.sample_rate)
            self._listed = True
        if stage in ("fit", "validate"):
            self._require_reference()
        self._headers.say_resampled(self.sample_rate)
        self.band_hz = self._headers.band(self.band, self.train_clips, self.sample_rate, self.channel)
        if not self._caches and (self.disk_cache or (stage == "fit" and self.cache_gb > 0)):
            self._caches = self._new_caches()

    def _prepared(self, clips: Sequence[Clip]) -> list[Clip]:
        """Clips to learn from, with labels from a file where one is given."""
        train = [clip for clip in clips if clip.split != Split.TEST and clip.condition != Condition.ANOMALY]
        labelled = train if self.labels is None else with_labels(train, self.labels)
        return with_far_noise(choose(labelled, self.calibration), self.far_noise)

    def recorded(self) -> dict[MachineSection, UsualRecording]:
        """How the normal training clips of each machine and section were recorded."""
        return self._headers.recorded(self.reference_clips, self.channel)

    def _take_train(self, clips: list[Clip]) -> None:
        trained = [clip for clip in clips if not clip.calibration]
        options = (self.clean_class, self.noise_class, self.domain_classes)
        self.classes = ClassTable.build(trained, *options) if clips else ClassTable(())
        labelled = [clip for clip in clips if self.classes.label(clip) >= 0]
        self.train_clips = [clip for clip in labelled if not clip.calibration]
        self.noise_clips = [clip for clip in clips if clip.kind == Kind.NOISE]
        self.reference_clips = [clip for clip in labelled if clip.kind == Kind.MACHINE]

    def _require_reference(self) -> None:
        if not self._train_checked:
            self._check_train()
        missing = set(sections_of(self.query_clips)) - set(sections_of(self.reference_clips))
        if missing or not self.reference_clips:
            raise UserError(
                f"no normal training clips for {', '.join(sorted(map(str, missing))) or 'any machine'}; "
                "put some into the machine's train folder, or choose other machines (data.machines)"
            )

    def _check_train(self) -> None:
        skip = self.on_bad_file == "skip"
        mixed = [c for c in self.noise_clips if self.classes.label(c) < 0] if self.noise_mix else []
        used = list(dict.fromkeys([*self.train_clips, *self.reference_clips, *mixed]))
        faults = self._faults(used, decoding=skip)
        if faults and skip:
            every = "; ".join(faults.values())
            notice(f"left out {len(faults)} of {len(used)} training clips that cannot be used: {every}")
            self._take_train([clip for clip in used if clip.sound not in faults])
        else:
            stop_at(faults, "; or leave out such training clips with data.on_bad_file=skip")
        self._train_checked = True

    def _faults(self, clips: Iterable[Clip], decoding: bool = False) -> dict[Sound, str]:
        return self._headers.look(clips, self.sample_rate, self.channel, decoding)

    def _new_caches(self) -> dict[Split, Cache]:
        crop = round(self.seconds * self.sample_rate)
        mixed = self.noise_clips if self.noise_mix else []
        train = self._headers.lengths_of([*self.train_clips, *self.reference_clips, *mixed])
        lengths = [train, self._headers.lengths_of(self.query_clips, crop)]
        if self.disk_cache is not None:
            return disk_caches(self.disk_cache, lengths, self.sample_rate, self.channel, self.band_hz)
        return ram_caches(self.cache_gb, lengths, shared=self.workers > 0)

    # -- loaders

    def train_dataloader(self) -> Loader:
        """Clips with an auxiliary class in random order; with random crops.

        Every clip is seen in every epoch, except that a last batch of a single clip is left out: batch norm cannot
        train on it.
        """
        dataset = self._dataset(self.train_clips, crop="random")
        dataset.mixer = self._mixer(dataset)
        trainer = self.trainer
        share = -(-len(dataset) // (trainer.world_size if trainer else 1))
        single = share > 1 and self.batch_size > 1 and share % self.batch_size == 1
        return TrainLoader(dataset, sampler=self._sampler(dataset), drop_last=single, **self._options(again=True))

    def _sampler(self, dataset: ClipDataset) -> ShuffleSampler | BalancedSampler:
        if self.balance == "class":
            return BalancedSampler(dataset, dataset.seed, dataset.labels.tolist())
        if self.balance == "domain":
            kinds = [(clip.machine_section, clip.domain, clip.kind) for clip in self.train_clips]
            return BalancedSampler(dataset, dataset.seed, kinds)
        return ShuffleSampler(dataset, dataset.seed)

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
        return ClipLoader(dataset, sampler=range(rank, len(dataset), world_size), **self._options())

    def _evaluation_loader(self, clips: list[Clip], again: bool = False) -> Loader:
        return ClipLoader(self._dataset(clips), shuffle=False, **self._options(again))

    def _dataset(self, clips: list[Clip], crop: Crop = "start") -> ClipDataset:
        labels = [-1 if clip.split == Split.TEST else self.classes.label(clip) for clip in clips]
        longest = self.crop_seconds if crop == "random" else None
        cache = self._caches.get(Split.TEST if clips and clips[0].split == Split.TEST else Split.TRAIN)
        return ClipDataset(
            clips, labels, self.sample_rate, min(longest or self.seconds, self.seconds), self.pad, crop, self.channel,
            cache, int(os.environ.get("PL_GLOBAL_SEED", "0")), band=self.band_hz,
        )  # fmt: skip

    def _mixer(self, dataset: ClipDataset) -> Mixer | None:
        if self.noise_mix is None:
            return None
        choices = noise_rows(self.train_clips, self.noise_clips)
        return Mixer(self.noise_mix, self._dataset(self.noise_clips, "random"), choices, dataset.seed)

    def _options(self, again: bool = False) -> dict[str, Any]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "collate_fn": as_is,
            "pin_memory": on_cuda,
            "persistent_workers": again and self.workers > 0,
        }
