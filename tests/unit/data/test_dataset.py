"""Waveforms of one length from clips of any length."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from asd.data.audio import decoding
from asd.data.audio.decoding import AudioError
from asd.data.audio.ram_cache import WaveformCache
from asd.data.clip import Clip, ClipBatch, Sound
from asd.data.dataset import ClipDataset, as_is

RATE = 1000


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Clips whose samples count up: 1, 2, 3, ..., of lengths 4, 10 and 25."""
    found = []
    for number, length in enumerate((4, 10, 25)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.arange(1, length + 1, dtype=np.int16), RATE)
        found.append(Clip(path, "fan"))
    return found


def dataset(clips: list[Clip], **options: object) -> ClipDataset:
    return ClipDataset(clips, [5, -1, 7], RATE, 0.01, **options)  # type: ignore[arg-type]


def steps(batch: ClipBatch) -> list[list[int]]:
    return (batch.waveform * 32768).round().int().tolist()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("pad", "short"), [("repeat", [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]), ("zeros", [1, 2, 3, 4, 0, 0, 0, 0, 0, 0])]
)
def test_clips_are_padded_and_cropped(clips: list[Clip], pad: str, short: list[int], cached: bool) -> None:
    cache = WaveformCache({clip.sound: 25 for clip in clips}, 1.0) if cached else None
    data = dataset(clips, pad=pad, cache=cache)
    first = list(range(1, 11))
    for _ in range(2):
        batch = data.__getitems__([2, 0, 1])
        assert steps(batch) == [first, short, first]
        assert batch.waveform.dtype == torch.float32
        assert batch.label.tolist() == [7, 5, -1]
        assert batch.index.tolist() == [2, 0, 1]


def test_a_resampled_clip_is_the_same_whether_cached_or_not(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.01, 4000), 2 * RATE, subtype="FLOAT")
    clip = [Clip(path, "fan")]
    cached = ClipDataset(clip, [0], RATE, 0.5, cache=WaveformCache({Sound(path): 500}, 1.0))
    plain = ClipDataset(clip, [0], RATE, 0.5)
    expected = plain[0].waveform
    for _ in range(2):
        assert torch.equal(cached[0].waveform, expected)


def test_one_clip_alone(clips: list[Clip]) -> None:
    data = dataset(clips)
    assert len(data) == 3
    one = data[-1]
    assert one.waveform.shape == (10,)
    assert (int(one.label), int(one.index)) == (7, 2)
    with pytest.raises(IndexError):
        data[3]


def test_a_cached_clip_is_not_read_again(clips: list[Clip]) -> None:
    data = dataset(clips, cache=WaveformCache({clips[0].sound: 4}, 1.0))
    before = steps(data.__getitems__([0]))
    for clip in clips:
        clip.path.unlink()
    assert steps(data.__getitems__([0])) == before
    with pytest.raises(AudioError, match=r"1\.wav"):
        data.__getitems__([1])


def test_cached_and_read_waveforms_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.01, 300), 2 * RATE, subtype="FLOAT")
    options = {"clips": [Clip(path, "fan")], "labels": [0], "sample_rate": RATE, "seconds": 0.2}
    read = ClipDataset(**options)[0].waveform  # type: ignore[arg-type]
    data = ClipDataset(**options, cache=WaveformCache({Sound(path): 200}, 1.0))  # type: ignore[arg-type]
    first, again = data[0].waveform, data[0].waveform
    assert torch.equal(first, again)
    assert (first - read).abs().max() <= read.abs().max() / 65000


def test_random_crops_cover_the_clip_and_follow_seed_and_epoch(clips: list[Clip]) -> None:
    def starts(seed: int) -> list[int]:
        data = dataset(clips, crop="random", seed=seed)
        found = []
        for epoch in range(200):
            data.set_epoch(epoch)
            (crop,) = steps(data.__getitems__([2]))
            assert crop == list(range(crop[0], crop[0] + 10))
            found.append(crop[0])
        return found

    assert starts(0) == starts(0)
    assert starts(0) != starts(1)
    assert set(starts(0)) == set(range(1, 17))


def test_random_crops_leave_the_global_random_numbers_alone(clips: list[Clip]) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    dataset(clips, crop="random").__getitems__([2])
    assert torch.equal(torch.rand(1), expected)


def epochs(data: ClipDataset, workers: int, method: str | None = None) -> list[list[list[int]]]:
    loader = DataLoader(
        data, batch_size=2, num_workers=workers, collate_fn=as_is, persistent_workers=workers > 0,
        multiprocessing_context=method,
    )  # fmt: skip
    found = []
    for epoch in range(3):
        data.set_epoch(epoch)
        found.append([row for batch in loader for row in steps(batch)])
    return found


@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (1, "spawn")])
def test_workers_change_nothing_and_share_the_cache(clips: list[Clip], workers: int, method: str) -> None:
    expected = epochs(dataset(clips, crop="random"), 0)
    assert len({str(epoch) for epoch in expected}) > 1
    cache = WaveformCache({clip.sound: 25 for clip in clips}, 1.0)
    assert epochs(dataset(clips, crop="random", cache=cache), workers, method) == expected
    assert all(cache.get(slot) is not None for slot in range(3))


def test_an_error_in_a_worker_stays_one_line(clips: list[Clip]) -> None:
    clips[1].path.write_text("this is no sound\n")
    with pytest.raises(AudioError) as error:
        list(DataLoader(dataset(clips), batch_size=3, num_workers=1, collate_fn=as_is))
    assert str(error.value).startswith(f"{clips[1].path}: cannot be read as audio")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_is_decoded_by_as_many_threads_as_torch_computes_with(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    alone = steps(dataset(clips).__getitems__([2, 0, 1]))
    together = threading.Barrier(3)

    def decode(*asked: Any) -> Any:
        together.wait(10)  # breaks where they are decoded one after another
        return decoding.decode(*asked)

    monkeypatch.setattr("asd.data.dataset.decode", decode)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    cache = WaveformCache({clip.sound: 25 for clip in clips}, 1.0) if cached else None
    data = dataset(clips, cache=cache)
    assert steps(data.__getitems__([2, 0, 1])) == alone
    if cached:
        monkeypatch.setattr("asd.data.dataset.decode", None)
        assert steps(data.__getitems__([2, 0, 1])) == alone


def test_of_several_clips_that_cannot_be_used_the_first_is_told(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for clip in clips[1:]:
        clip.path.write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"2\.wav"):
        dataset(clips).__getitems__([0, 2, 1])


def test_labels_must_match_the_clips(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match="3 clips but 1 labels"):
        ClipDataset(clips, [0], RATE, 1.0)
