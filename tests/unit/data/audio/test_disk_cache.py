"""The cache on disk gives what decoding gives, is whole or not there, and never outlives its files."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio import disk_cache
from asd.data.audio.decoding import decode
from asd.data.audio.disk_cache import DiskCache
from asd.data.audio.ram_cache import in_16_bits
from asd.data.clip import Sound
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.errors import UserError
from asd.testing import write_dataset

RATE = 8000


@pytest.fixture
def lengths(tmp_path: Path) -> dict[Sound, int]:
    """Sounds of several lengths, formats and rates, one of them a part of a file."""
    for number, (seconds, rate, subtype) in enumerate(
        [(0.2, RATE, "PCM_16"), (0.3, 16000, "PCM_16"), (0.1, RATE, "FLOAT")]
    ):
        samples = 0.3 * np.random.default_rng(number).standard_normal(round(seconds * rate))
        soundfile.write(tmp_path / f"{number}.wav", samples.clip(-1, 1), rate, subtype=subtype)
    sounds = [Sound(tmp_path / f"{number}.wav") for number in range(3)]
    return {sounds[0]: 1600, sounds[1]: 2401, sounds[2]: 500, Sound(tmp_path / "0.wav", 0.05, 0.1): 800}


def built(folder: Path, lengths: dict[Sound, int], **options: int) -> DiskCache:
    return DiskCache.built(folder / "cache", "train", lengths, **{"sample_rate": RATE, **options})


def pcm(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*.pcm"))


def assert_right(cache: DiskCache, lengths: dict[Sound, int]) -> None:
    assert len(cache) == len(lengths)
    for sound, length in lengths.items():
        samples, step = in_16_bits(decode(sound, RATE))
        found = cache.get(cache.slot(sound))
        assert found is not None
        assert torch.equal(found[0], torch.from_numpy(samples[:length]))
        assert found[1] == step


def test_clips_come_back_as_decoding_gives_them(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    assert_right(built(tmp_path, lengths), lengths)
    assert_right(pickle.loads(pickle.dumps(built(tmp_path, lengths))), lengths)
    assert built(tmp_path, lengths).slot(Sound(tmp_path / "absent.wav")) == -1


def test_it_is_built_once(tmp_path: Path, lengths: dict[Sound, int], monkeypatch: pytest.MonkeyPatch) -> None:
    built(tmp_path, lengths)
    monkeypatch.setattr(disk_cache, "decode", lambda *_: pytest.fail("decoded again"))
    built(tmp_path, lengths)
    assert [path.suffix for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == [".pcm"]


def test_another_rate_or_other_clips_are_another_file(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    built(tmp_path, lengths)
    built(tmp_path, lengths, sample_rate=4000)
    built(tmp_path, dict(list(lengths.items())[:2]))
    assert len(pcm(tmp_path)) == 3


def test_it_is_made_anew_when_a_file_changes(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    built(tmp_path, lengths)
    soundfile.write(tmp_path / "0.wav", np.linspace(-0.5, 0.5, 1600), RATE)
    os.utime(tmp_path / "0.wav", (1, 1))
    assert_right(built(tmp_path, lengths), lengths)
    assert len(pcm(tmp_path)) == 1


def test_caches_of_files_that_are_gone_are_dropped(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    built(tmp_path, lengths)
    first, *others = lengths
    fewer = {one: lengths[one] for one in others if one.path != first.path}
    built(tmp_path, fewer)
    assert len(pcm(tmp_path)) == 2, "both are right"
    first.path.unlink()
    built(tmp_path, fewer, sample_rate=4000)
    assert len(pcm(tmp_path)) == 2, "that of the lost file is gone"
    assert_right(built(tmp_path, fewer), fewer)


def test_another_version_is_made_anew(
    tmp_path: Path, lengths: dict[Sound, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as old:
        old.setattr(disk_cache, "VERSION", 0)
        built(tmp_path, lengths)
    caplog.set_level("INFO")
    assert_right(built(tmp_path, lengths), lengths)
    assert "another version" in caplog.text


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_half_a_file_is_never_taken_for_a_whole_one(kept: int, tmp_path: Path, lengths: dict[Sound, int]) -> None:
    built(tmp_path, lengths)
    (path,) = pcm(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert_right(built(tmp_path, lengths), lengths)


def test_a_damaged_clip_is_read_from_its_own_file(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    built(tmp_path, lengths)
    (path,) = pcm(tmp_path)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path)
    cache = built(tmp_path, lengths)
    first, *others = lengths
    with pytest.warns(UserWarning, match="is damaged; it is removed"):
        assert cache.get(cache.slot(first)) is None
    again = cache.put(cache.slot(first), decode(first, RATE))
    assert torch.equal(again[0], torch.from_numpy(decode(first, RATE)))
    assert all(cache.get(cache.slot(one)) is not None for one in others)
    assert not path.exists()


def test_a_full_disk_is_one_clear_line(
    tmp_path: Path, lengths: dict[Sound, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_cache, "_write_samples", full)
    with pytest.raises(UserError, match="No space left on device; free space"):
        built(tmp_path, lengths)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"], "nothing half-made stays"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    (tmp_path / "cache").write_text("a file in its place\n")
    with pytest.raises(UserError, match=r"cannot write the cache .*data\.disk_cache"):
        built(tmp_path, lengths)


def _build(folder: Path, lengths: dict[Sound, int], ready: object, told: object) -> None:
    ready.wait()
    cache = built(folder, lengths)
    told.put([int(cache.get(slot)[0].sum()) for slot in range(len(cache))])


def test_processes_that_build_one_cache_wait_for_each_other(tmp_path: Path, lengths: dict[Sound, int]) -> None:
    context = multiprocessing.get_context("fork")
    ready, told = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_build, args=(tmp_path, lengths, ready, told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    sums = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sums[0] == sums[1] == sums[2]
    assert len(pcm(tmp_path)) == 1


def test_an_interrupted_build_leaves_no_lock(
    tmp_path: Path, lengths: dict[Sound, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        stopped.setattr(disk_cache, "_write_samples", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path, lengths)
    assert_right(built(tmp_path, lengths), lengths)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*many workers.*")
def test_loaders_give_the_same_with_it(workers: int, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data")
    batches = []
    for cache in (None, tmp_path / "cache"):
        data = ToyADMOS2(root, seconds=0.25, batch_size=4, workers=workers, cache_gb=0, disk_cache=cache)
        data.setup("fit")
        loaders = [data.train_dataloader(), *data.val_dataloader()]
        batches.append([batch for loader in loaders for batch in loader])
    for plain, cached in zip(*batches, strict=True):
        assert torch.equal(plain.waveform, cached.waveform)
        assert torch.equal(plain.index, cached.index)
    assert {path.name.split("-")[0] for path in pcm(tmp_path)} == {"train", "test"}
