"""Many recordings scored together: order, batches, what is held at once, and what cannot be used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from asd.data.audio.decoding import AudioError
from asd.inference import together
from asd.inference.together import scored_together
from asd.inference.windows import BATCH, Cut, windows_of
from asd.utils.forks import usable_cores

RATE = 1000
CUT = Cut(RATE, 1.0, 1.0)
CPU = torch.device("cpu")


def written(path: Path, seconds: float, level: float) -> Path:
    """A file whose samples alternate, so that the largest of each window is its level."""
    soundfile.write(path, level * np.where(np.arange(round(seconds * RATE)) % 2, 1, -1), RATE)
    return path


def loudest(windows: Sequence[Tensor]) -> list[float]:
    return [float(one.max()) for one in windows]


def decoding() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "asd-decode"]


def test_windows_of_several_files_share_batches_and_every_file_keeps_its_own(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number:02d}.wav", 1 + number % 3, (number + 1) / 32) for number in range(20)]
    sizes = []

    def score(windows: Sequence[Tensor]) -> list[float]:
        sizes.append(len(windows))
        return loudest(windows)

    found = list(scored_together(paths, CUT, score, CPU))
    assert [one.path for one in found] == paths
    for number, one in enumerate(found):
        starts, scores = zip(*one.scores(), strict=True)
        assert starts == tuple(map(float, range(1 + number % 3)))
        assert scores == pytest.approx([(number + 1) / 32] * len(scores), abs=1e-3)
    windows = sum(1 + number % 3 for number in range(20))
    assert sum(sizes) == windows and len(sizes) == -(-windows // BATCH) and max(sizes) == BATCH


def test_a_file_that_cannot_be_used_is_told_in_its_turn(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number}.wav", 2, 0.5) for number in range(4)]
    paths[1].write_bytes(b"no sound")
    paths[3].unlink()
    found = list(scored_together(paths, CUT, loudest, CPU))
    assert [one.path for one in found] == paths and [one.error is None for one in found] == [True, False, True, False]
    with pytest.raises(AudioError, match=r"1\.wav"):
        found[1].scores()


def test_no_more_is_decoded_than_two_batches_ahead(tmp_path: Path) -> None:
    one = written(tmp_path / "one.wav", 1, 0.5)
    taken = 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        for _ in range(20 * BATCH):
            taken += 1
            yield one

    files = scored_together(paths(), CUT, loudest, CPU)
    next(files)
    deadline = time.monotonic() + 1
    while taken < BATCH and time.monotonic() < deadline:
        time.sleep(0.01)
    assert taken <= 2 * BATCH + usable_cores()
    assert decoding()
    files.close()
    for thread in decoding():
        thread.join(5)
    assert not decoding()


@pytest.mark.parametrize(
    ("threads", "device", "waits", "rests"),
    [
        (2, CPU, False, True),
        (2, torch.device("cuda"), False, False),
        (2, CPU, True, False),
        (1, CPU, False, False),
    ],
    ids=["every core in the pass", "on another device", "it waits for a share", "a core is free"],
)
def test_nothing_is_decoded_beside_a_pass_that_has_every_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, device: torch.device, waits: bool, rests: bool
) -> None:
    clock, taken, beside = [0.0], 0, 0

    def decoded(*asked: Any, **named: Any) -> Iterator[tuple[float, Tensor]]:
        nonlocal taken
        taken += 1
        clock[0] += 1
        yield from windows_of(*asked, **named)

    def score(windows: Sequence[Tensor]) -> list[float]:
        nonlocal beside
        before = taken
        time.sleep(0.2)
        beside = max(beside, taken - before)
        return loudest(windows)

    monkeypatch.setattr(together, "windows_of", decoded)
    monkeypatch.setattr(together, "usable_cores", lambda: 2)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0 if waits else clock[0])
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    paths = [written(tmp_path / "one.wav", 1, 0.5)] * (4 * BATCH)
    assert len(list(scored_together(paths, CUT, score, device))) == 4 * BATCH
    assert beside <= 2 if rests else beside > 2


def test_a_file_is_told_though_the_next_does_not_come(tmp_path: Path) -> None:
    gate = threading.Event()

    def paths() -> Iterator[Path]:
        yield written(tmp_path / "one.wav", 1, 0.5)
        gate.wait(10)

    files = scored_together(paths(), CUT, loudest, CPU)
    begin = time.monotonic()
    assert next(files).scores()
    assert time.monotonic() - begin < 5
    gate.set()
    assert list(files) == []


def test_files_are_decoded_at_once_and_told_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [written(tmp_path / f"{number}.wav", 1, (number + 1) / 8) for number in range(4)]
    second = threading.Event()

    def cut(path: Path, *rest: Any, **named: Any) -> Iterator[tuple[float, Tensor]]:
        if path == paths[0]:
            assert second.wait(10)
        yield from windows_of(path, *rest, **named)
        if path == paths[1]:
            second.set()

    monkeypatch.setattr(together, "windows_of", cut)
    monkeypatch.setattr(together, "usable_cores", lambda: 2)
    found = list(scored_together(paths, CUT, loudest, CPU))
    assert [one.path for one in found] == paths
    assert [one.scores()[0][1] for one in found] == pytest.approx([0.125, 0.25, 0.375, 0.5], abs=1e-3)


def test_long_recordings_beside_one_another_are_held_in_part(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number}.wav", 4 * BATCH, (number + 1) / 8) for number in range(3)]
    found = list(scored_together(paths, CUT, loudest, CPU))
    for number, one in enumerate(found):
        starts, scores = zip(*one.scores(), strict=True)
        assert starts == tuple(map(float, range(4 * BATCH)))
        assert scores == pytest.approx([(number + 1) / 8] * (4 * BATCH), abs=1e-3)


def test_many_files_that_cannot_be_used_are_told_one_after_another(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(10 * BATCH)]
    found = list(scored_together(paths, CUT, loudest, CPU))
    assert [one.path for one in found] == paths and all(one.error for one in found)


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_read() -> None:
    def paths() -> Iterator[Path]:
        yield from ()
        raise RuntimeError("the list broke")

    with pytest.raises(RuntimeError, match="the list broke"):
        list(scored_together(paths(), CUT, loudest, CPU))
