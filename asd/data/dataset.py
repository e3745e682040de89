"""Clips as batches of waveforms of one length."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asd.data.audio.channels import Channel
from asd.data.audio.decoding import decode
from asd.data.audio.disk_cache import DiskCache
from asd.data.audio.ram_cache import WaveformCache, in_16_bits
from asd.data.clip import Clip, ClipBatch
from asd.data.mixing import Mixer
from asd.utils.seeds import seed_of

Cache = WaveformCache | DiskCache
Pcm = tuple[Tensor, float]
"""Samples ``(n,)`` int16 and the value of one step."""
Pad = Literal["repeat", "zeros"]
Crop = Literal["random", "start"]

LAST_WINDOW = 0.5
"""Part of a clip's length: where so much of a longer recording is left, a detector listens to a last window there."""


class ClipDataset(Dataset[ClipBatch]):
    """Waveforms of one length with their labels.

    A loader takes whole batches from it: ``DataLoader(dataset, batch_size=B, collate_fn=as_is)``. Random crops depend
    on seed, epoch and row alone, so they are the same for any number of workers and processes and in a resumed run.

    Args:
        clips: The clips; a clip's position is its index.
        labels: Auxiliary class of each clip; -1 where it has none.
        sample_rate: Hz of the waveforms; files of other rates are resampled.
        seconds: Length of the waveforms.
        pad: What follows a clip that is too short: the clip again, or zeros.
        crop: Which part of a clip that is too long: another in each epoch, or its start.
        channel: The channel to take, see `asd.data.audio.channels`.
        cache: Where decoded clips are kept; ``None``: each is read from disk each time.
        seed: Of the random crops.
        mixer: Noise that is added; ``None``: none.
        band: Hz of bandwidth that is left, see `asd.data.audio.band`; ``None``: all.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: Sequence[int],
        sample_rate: int,
        seconds: float,
        pad: Pad = "repeat",
        crop: Crop = "start",
        channel: Channel = None,
        cache: Cache | None = None,
        seed: int = 0,
        mixer: Mixer | None = None,
        band: float | None = None,
    ) -> None:
        self.sounds = [clip.sound for clip in clips]
        self.labels = torch.tensor(labels, dtype=torch.int64)
        if len(self.labels) != len(self.sounds):
            raise ValueError(f"{len(self.sounds)} clips but {len(self.labels)} labels")
        self.sample_rate = sample_rate
        self.samples = round(seconds * sample_rate)
        self.pad = pad
        self.crop = crop
        self.channel = channel
        self.cache = cache
        self.seed = seed
        self.mixer = mixer
        self.band = band
        self._slots = [-1 if cache is None else cache.slot(sound) for sound in self.sounds]
        # In shared memory, so that workers that live on see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.sounds)

    def __getitem__(self, row: int) -> ClipBatch:
        """One clip: waveform ``(T,)``, label and index without dimension.

        Raises:
            AudioError: The file cannot be used.
        """
        batch = self.__getitems__([range(len(self))[row]])
        return ClipBatch(batch.waveform[0], batch.label[0], batch.index[0])

    def __getitems__(self, rows: Sequence[int]) -> ClipBatch:
        """A batch of clips, decoded by as many threads as torch computes with; errors as for one clip."""
        # NumPy asks for huge pages: new memory of this size costs more in page faults than in copying.
        waveform = torch.from_numpy(np.empty((len(rows), self.samples), np.float32))
        for row, stored, out in zip(rows, self._load_each(rows), waveform, strict=True):
            self._write(row, stored, out)
            if self.mixer is not None:
                self.mixer.add(out, row, self.epoch)
        index = torch.tensor(rows, dtype=torch.int64)
        return ClipBatch(waveform, self.labels[index], index)

    @property
    def epoch(self) -> int:
        """The epoch whose random crops are given."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of that epoch, also in workers that are running."""
        self._epoch.fill_(epoch)

    def waveform(self, row: int, generator: torch.Generator) -> Tensor:
        """One clip ``(T,)``; where it is too long and crops are random, the generator says which part.

        Raises:
            AudioError: The file cannot be used.
        """
        out = torch.empty(self.samples)
        self._write(row, self.load(row), out, generator)
        return out

    def load(self, row: int) -> Pcm:
        """The clip, from the cache where it is there."""
        return self._cached(row) or self._decoded(row)

    def _load_each(self, rows: Sequence[int]) -> list[Pcm]:
        found = [self._cached(row) for row in rows]
        missing = [row for row, stored in zip(rows, found, strict=True) if stored is None]
        # One in a loader's worker, beside which others decode. None of these lasts longer than the batch: copies of a
        # process have no threads.
        threads = min(torch.get_num_threads(), len(missing))
        if threads < 2:
            return [stored or self._decoded(row) for row, stored in zip(rows, found, strict=True)]
        with ThreadPoolExecutor(threads) as pool:
            decoded = pool.map(self._decoded, missing)
            return [stored or next(decoded) for stored in found]

    def _cached(self, row: int) -> Pcm | None:
        slot = self._slots[row]
        return self.cache.get(slot) if self.cache is not None and slot >= 0 else None

    def _decoded(self, row: int) -> Pcm:
        slot = self._slots[row]
        samples = decode(self.sounds[row], self.sample_rate, self.channel, self.band)
        if self.cache is not None and slot >= 0:
            return self.cache.put(slot, samples)
        # Rounded like a cached clip: a score must not depend on what the cache has room for.
        rounded, step = in_16_bits(samples)
        return torch.from_numpy(rounded), step

    def _write(self, row: int, stored: Pcm, out: Tensor, generator: torch.Generator | None = None) -> None:
        samples, step = stored
        length = len(samples)
        spare = length - len(out)
        if spare >= 0:
            start = self._crop_start(row, spare, generator)
            torch.mul(samples[start : start + len(out)], step, out=out)
            return
        torch.mul(samples, step, out=out[:length])
        if self.pad == "zeros":
            out[length:] = 0
            return
        while length < len(out):  # what is filled is whole repeats of the clip, so it can be doubled
            more = min(length, len(out) - length)
            out[length : length + more] = out[:more]
            length += more

    def _crop_start(self, row: int, spare: int, generator: torch.Generator | None) -> int:
        if spare == 0 or self.crop == "start":
            return 0
        if generator is None:
            generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch, row))
        return int(torch.randint(spare + 1, (), generator=generator))


def as_is(batch: Any) -> Any:
    """The collate function of a loader over a `ClipDataset`, which gives whole batches."""
    return batch
