"""Batches that are read while those before are used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio.decoding import AudioError
from asd.data.clip import Clip
from asd.data.dataset import ClipDataset, as_is
from asd.data.sampling import ShuffleSampler, TrainLoader
from asd.utils.ahead import read_ahead


def reading() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "asd-read"]


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_batches_are_taken_ahead_in_their_order_and_no_more_than_are_wanted() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    ahead = read_ahead(batches())
    assert next(ahead) == 0
    assert wait_for(lambda: taken == [0, 1, 2, 3]), "two wait, and one is held"
    assert list(ahead) == list(range(1, 10))
    assert wait_for(lambda: not reading())


def test_who_stops_early_leaves_no_thread() -> None:
    ahead = read_ahead(iter(range(10)))
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert wait_for(lambda: not reading())


def test_errors_are_raised_where_the_batch_would_have_been() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise AudioError("pump.wav: it is empty")

    ahead = read_ahead(batches())
    assert next(ahead) == 1
    with pytest.raises(AudioError, match="pump"):
        next(ahead)


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
@pytest.mark.parametrize(("on_gpu", "threads"), [(True, 1), (False, 0)])
def test_a_loader_reads_on_where_a_gpu_computes_and_gives_the_same(tmp_path: Path, on_gpu: bool, threads: int) -> None:
    clips = []
    for number in range(20):
        clips.append(Clip(tmp_path / f"{number:02d}.wav", "fan"))
        soundfile.write(clips[-1].path, np.random.default_rng(number).normal(0, 0.1, 2000), 1000)
    dataset = ClipDataset(clips, list(range(20)), 1000, 1.0, crop="random", seed=3)
    loader = TrainLoader(dataset, batch_size=2, sampler=ShuffleSampler(dataset, 3), collate_fn=as_is, pin_memory=on_gpu)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = iter(loader)
        found = [next(batches)]
        assert len(reading()) == threads
        found += batches
        expected = dataset.__getitems__([row for batch in found for row in batch.index.tolist()])
        assert torch.equal(torch.cat([batch.waveform for batch in found]), expected.waveform)
        assert sorted(expected.index.tolist()) == list(range(20))
    assert wait_for(lambda: not reading())
