"""What is heard becomes messages: of a stream as a whole, of a folder file by file."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asd.errors import UserError
from asd.inference.monitor import Rules
from asd.inference.result import Usual
from asd.inference.stream import from_file, rate_of
from asd.inference.watching import Watcher
from asd.inference.windows import Cut
from asd.scoring.conformal import Ranks
from asd.scoring.limits import Limits

RATE = 8000
CUT = Cut(RATE, 1.0, 1.0)
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE)


LIMITS = Limits(alarm=0.15, abstain=0.15)


class Loudness:
    """A detector whose score is how loud a window is."""

    cut = CUT

    def __init__(self) -> None:
        sections = SimpleNamespace(limits=lambda _: LIMITS, training_scores=lambda _: (torch.zeros(4),))
        self.model = SimpleNamespace(sections=sections)
        self.recordings = SimpleNamespace(remarks=lambda number, meter, name: ())

    def score_windows(self, windows: list[torch.Tensor], number: int) -> list[float]:
        return [float(one.square().mean().sqrt()) for one in windows]

    def result(self, name: str, number: int, windows: list[tuple[float, float]]) -> Any:
        return Usual("fan", LIMITS, Ranks([0.0])).result(name, float(np.mean([score for _, score in windows])), windows)


ONE_OF_TWO = Rules(smooth=1, needed=1, among=2)


def watched(source: Path, rules: Rules = ONE_OF_TWO, live: bool = False) -> list[dict[str, Any]]:
    """Messages about a file or a folder; a refusal is the last."""
    told: list[dict[str, Any]] = []
    watcher = Watcher(Loudness(), 0, rules, told.append, scores=True)  # type: ignore[arg-type]
    try:
        if source.is_dir():
            watcher.folder(source, follow=False)
        else:
            watcher.stream(from_file(source, 0.0), rate_of(source), source.name, live)
    except UserError as error:
        told.append({"type": "refused", "reason": str(error)})
    return told


def test_a_dead_stretch_of_a_stream_is_an_event_and_the_rest_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    soundfile.write(path, np.concatenate([NOISE, np.full(3 * RATE, 0.2), NOISE, NOISE, np.zeros(RATE)]), RATE)
    told = watched(path)
    unusable = [(one["time"], one["reason"]) for one in told if one["type"] == "unusable"]
    assert [time for time, _ in unusable] == [1.0, 6.0], "each stretch once"
    assert "constant" in unusable[0][1]
    assert "silent" in unusable[1][1]
    assert [one["time"] for one in told if one["type"] == "score"] == [0.0, 4.0, 5.0]
    assert told[-1]["unusable_windows"] == 4


def test_a_stream_that_ends_before_a_window_says_so(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, NOISE[: RATE // 2], RATE)
    told = watched(path)
    assert [one["type"] for one in told] == ["summary", "refused"]
    assert told[1]["reason"].startswith("short.wav: 0.5 s are too short for an event: 0 windows of 1 s")


def test_dead_windows_and_dead_files_of_a_folder_are_events(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([NOISE, np.zeros(RATE)]), RATE)
    soundfile.write(tmp_path / "b.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "c.wav", NOISE[:500], RATE)
    (tmp_path / "d.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:9000])
    told = watched(tmp_path)
    reasons = {one["file"]: one["reason"] for one in told if one["type"] == "unusable"}
    assert "silent" in reasons["a.wav"]
    assert "silent" in reasons["b.wav"]
    assert "too short to judge" in reasons["c.wav"]
    assert "cut short" in reasons["d.wav"]
    assert [one["file"] for one in told if one["type"] == "score"] == ["a.wav"]
    assert told[-1]["unusable_files"] == 3
    (tmp_path / "a.wav").unlink()
    assert watched(tmp_path)[-1]["reason"] == f"{tmp_path}: none of 3 files could be judged; see what was unusable"


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_a_file_as_long_as_a_window_gives_its_window(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, rate), rate)
    assert [one["type"] for one in watched(path)] == ["score", "summary"]


def test_a_source_too_short_for_an_event_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.tile(NOISE, 2), RATE)
    told = watched(path, Rules(smooth=1, needed=3, among=5))
    assert [one["type"] for one in told] == ["score", "score", "summary", "refused"]
    assert "2 windows of 1 s, one every 1 s, where 3 are needed; judge it by `asd score`" in told[-1]["reason"]


def test_files_of_a_folder_are_judged_one_by_one(tmp_path: Path) -> None:
    loud = 3 * NOISE
    for name, parts in {"a": [NOISE], "b": [loud], "c": [NOISE], "d": [NOISE] * 9 + [loud] * 3}.items():
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(parts), RATE)
        os.utime(tmp_path / f"{name}.wav", (1e9, 1e9 + ord(name)))
    told = watched(tmp_path, Rules(smooth=1, needed=3, among=3))
    verdicts = {one["file"]: one["decision"] for one in told if one["type"] == "file"}
    assert verdicts == {"a.wav": "normal", "b.wav": "anomalous", "c.wav": "normal", "d.wav": "anomalous"}
    events = [(one["file"], one["start"] - 1e9, one["end"] - 1e9) for one in told if one["type"] == "event_end"]
    # A file ends when it was last written to. The short one is an event as a whole, in the long one there is one.
    assert events == [("b.wav", 97.0, 98.0), ("d.wav", 97.0, 100.0)]
    assert told[-1]["events"] == 2


def test_the_time_is_told_in_iso_8601_where_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE, RATE)
    os.utime(path, (1e9, 1e9))
    (verdict,) = [one for one in watched(tmp_path) if one["type"] == "file"]
    assert datetime.fromisoformat(verdict["at"]) == datetime.fromtimestamp(1e9 - 1, UTC)
    assert not any("at" in one for one in watched(path)), "nobody knows when a file was recorded"
    before = time.time() - 1
    assert all(datetime.fromisoformat(one["at"]).timestamp() >= before for one in watched(path, live=True))
