"""Decoded clips in RAM, so that every epoch but the first is free of decoding."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio.decoding import PCM_STEP
from asd.data.clip import Sound


class WaveformCache:
    """Clips as 16-bit samples at the target rate, filled at first use and shared by all loaders.

    Each clip has a place of its own from the start, so workers need no lock: two that fill the same place write the
    same samples. Clips beyond the bound have no place.

    Args:
        lengths: Samples to hold of each sound, at most; the first are served first.
        gigabytes: Bound of the memory used, in 10^9 bytes; memory is taken as clips come in.
        shared: Whether forked workers share it, which makes the filling slower.
    """

    def __init__(self, lengths: Mapping[Sound, int], gigabytes: float, shared: bool = True) -> None:
        self._slots: dict[Sound, int] = {}
        self._places: list[tuple[int, int]] = []
        end, bound = 0, int(gigabytes * 1e9) // 2
        for sound, length in lengths.items():
            if end + length <= bound:
                self._slots[sound] = len(self._places)
                self._places.append((end, end + length))
                end += length
        self._samples = _memory(end, np.int16, shared)
        self._scales = _memory(len(self._places), np.float32, shared)
        self._filled = _memory(len(self._places), np.int64, shared)

    def __len__(self) -> int:
        """Number of clips that have a place."""
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Bytes used once every place is filled."""
        return self._samples.nbytes

    def slot(self, sound: Sound) -> int:
        """The place of a sound; -1: it has none."""
        return self._slots.get(sound, -1)

    def get(self, slot: int) -> tuple[Tensor, float] | None:
        """Samples ``(T,)`` int16 and the value of one step, or ``None`` before `put`."""
        length = int(self._filled[slot])
        if length == 0:
            return None
        start = self._places[slot][0]
        return self._samples[start : start + length], float(self._scales[slot])

    def put(self, slot: int, samples: NDArray[np.int16] | NDArray[np.float32]) -> tuple[Tensor, float]:
        """Keep the first samples of ``(T,)``, as many as have room; returns what `get` gives from now on.

        Samples that are not 16-bit are rounded as by `in_16_bits`.
        """
        start, end = self._places[slot]
        rounded, scale = in_16_bits(samples)
        samples = rounded[: end - start]
        self._samples[start : start + len(samples)] = torch.from_numpy(samples)
        self._scales[slot] = scale
        self._filled[slot] = len(samples)  # last: from here on the place counts as filled
        return self._samples[start : start + len(samples)], float(self._scales[slot])

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker gets a pickled copy, which shares memory only where torch manages it.
        for name in ("_samples", "_scales", "_filled"):
            if not getattr(self, name).is_shared():
                setattr(self, name, getattr(self, name).clone().share_memory_())
        return self.__dict__


def in_16_bits(samples: NDArray[np.int16] | NDArray[np.float32]) -> tuple[NDArray[np.int16], float]:
    """Samples ``(T,)`` in 16 bits, and the value of one step.

    Others are rounded to 65534 steps between plus and minus their peak, so a quiet recording keeps its precision.
    """
    if samples.dtype == np.int16:
        return samples.astype(np.int16, copy=False), PCM_STEP
    peak = np.float32(max(samples.max(), -samples.min(), 1e-30))
    scale = float(np.nextafter(peak / np.float32(32767), np.float32(0)))  # rounding never passes the peak
    steps = samples / np.float32(scale)
    return np.rint(steps, out=steps).astype(np.int16), scale


def _memory(length: int, dtype: type[np.generic], shared: bool) -> Tensor:
    if not shared or length == 0:
        return torch.from_numpy(np.zeros(length, dtype))
    # An anonymous shared mapping: seen by forked workers, and unlike /dev/shm not limited in containers.
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, length * np.dtype(dtype).itemsize), dtype))
