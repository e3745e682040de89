"""Which files of a folder were given is known again after a restart, and where the clock goes back."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from asd.errors import Notice
from asd.inference.stream import Seen, new_files


def write(path: Path, at: float) -> None:
    path.write_bytes(b"RIFF")
    os.utime(path, (at, at))


def given(folder: Path, seen: Seen, kept: list[str] | None = None) -> list[str]:
    keep = (lambda: kept.append(json.dumps(seen.to_dict()))) if kept is not None else (lambda: None)
    return [path.name for path in new_files(folder, follow=False, seen=seen, keep=keep)]


def test_a_restart_gives_what_was_not_taken_before(tmp_path: Path) -> None:
    now = time.time()
    for name, age in (("a.wav", 30), ("b.wav", 20), ("c.wav", 20)):
        write(tmp_path / name, now - age)
    kept: list[str] = []
    files = new_files(
        tmp_path, follow=False, seen=(seen := Seen()), keep=lambda: kept.append(json.dumps(seen.to_dict()))
    )
    assert [next(files).name, next(files).name] == ["a.wav", "b.wav"]
    files.close()  # as where the program is killed while it judges b.wav
    again = Seen.of(json.loads(kept[-1]))
    assert given(tmp_path, again, kept) == ["b.wav", "c.wav"]
    write(tmp_path / "d.wav", now - 10)
    assert given(tmp_path, Seen.of(json.loads(kept[-1]))) == ["d.wav"]


@pytest.mark.parametrize("kept", [None, {}, [], "x", {"newest": "x", "given": {}}, {"newest": 1, "given": []}])
def test_what_is_no_memory_is_none(kept: object) -> None:
    assert Seen.of(kept) == Seen()


def test_files_that_are_written_after_the_clock_went_back_are_given(tmp_path: Path) -> None:
    now = time.time()
    for name, ahead in (("a.wav", 3500), ("b.wav", 3600)):
        write(tmp_path / name, now + ahead)
    seen = Seen()
    assert given(tmp_path, seen) == ["a.wav", "b.wav"]
    write(tmp_path / "c.wav", now)
    with pytest.warns(Notice, match="the clock went back, or the newest file is of the future"):
        assert given(tmp_path, seen) == ["c.wav"]
    write(tmp_path / "d.wav", time.time())
    assert given(tmp_path, seen) == ["d.wav"], "and each of them once"
    assert len(seen.given) <= 4


def test_a_recorder_whose_clock_is_a_little_ahead_is_nothing_to_speak_of(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    seen = Seen()
    for number in range(5):
        write(tmp_path / f"{number}.wav", time.time() + 20)
        assert given(tmp_path, seen) == [f"{number}.wav"]
    assert not [one for one in recwarn if issubclass(one.category, Notice)]
