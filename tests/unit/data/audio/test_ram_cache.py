"""The cache gives back what was read, within its bound, to every process."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.data.audio.ram_cache import WaveformCache
from asd.data.clip import Sound

A, B, C = (Sound(Path(name)) for name in ("a.wav", "b.wav", "c.wav"))


def steps(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32768, 32768, length).astype(np.int16)


def test_clips_of_various_lengths_come_back_exactly() -> None:
    cache = WaveformCache({A: 5, B: 9, C: 2}, 1.0)
    clips = {A: steps(5, 1), B: steps(9, 2), C: steps(2, 3)}
    for path in (B, A, C):
        assert cache.get(cache.slot(path)) is None
        cache.put(cache.slot(path), clips[path])
    for path, samples in clips.items():
        found = cache.get(cache.slot(path))
        assert found is not None
        assert found[0].tolist() == samples.tolist()
        assert found[1] == 1 / 32768


def test_memory_is_bounded() -> None:
    cache = WaveformCache({A: 1000, B: 2000, C: 500}, 4000e-9)
    assert cache.slot(A) >= 0
    assert cache.slot(B) == -1
    assert cache.slot(C) >= 0
    assert len(cache) == 2
    assert cache.nbytes == 3000


def test_nothing_is_held_without_room() -> None:
    cache = WaveformCache({A: 1000}, 0.0)
    assert cache.slot(A) == -1
    assert cache.nbytes == 0


def test_a_clip_that_is_shorter_than_its_place_or_longer() -> None:
    cache = WaveformCache({A: 10, B: 4}, 1.0)
    assert len(cache.put(cache.slot(A), steps(7))[0]) == 7
    put = cache.put(cache.slot(B), steps(7))
    found = cache.get(cache.slot(B))
    assert found is not None
    assert found[0].tolist() == put[0].tolist() == steps(7)[:4].tolist()


@pytest.mark.parametrize("level", [1.0, 1e-5])
def test_quiet_clips_keep_their_precision(level: float) -> None:
    samples = (level * np.random.default_rng(0).uniform(-1, 1, 1000)).astype(np.float32)
    samples[3] = level
    cache = WaveformCache({A: 1000}, 1.0)
    put, step = cache.put(0, samples)
    found = cache.get(0)
    assert found is not None
    assert torch.equal(found[0], put)
    assert found[1] == step
    back = put.double() * step
    assert (back - torch.from_numpy(samples)).abs().max() <= 0.51 * level / 32767
    assert back.abs().max() <= level


def test_what_a_worker_fills_all_see() -> None:
    cache = WaveformCache({A: 5, B: 3}, 1.0)
    cache.put(1, steps(3))
    worker = multiprocessing.get_context("fork").Process(target=cache.put, args=(0, steps(5)))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    for slot, length in ((0, 5), (1, 3)):
        found = cache.get(slot)
        assert found is not None
        assert found[0].tolist() == steps(length).tolist()


def test_a_copy_holds_the_same() -> None:
    cache = WaveformCache({A: 5}, 1.0)
    cache.put(0, steps(5))
    found = pickle.loads(pickle.dumps(cache)).get(0)
    assert found is not None
    assert found[0].tolist() == steps(5).tolist()
