"""`asd watch` tells what it cannot judge, and goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
import torch

from asd.cli.watch import _watch_folder, _watch_stream
from asd.inference.monitor import Monitor, Rules
from asd.inference.windows import Cut

RATE = 8000
CUT = Cut(RATE, 1.0, 1.0)
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE)


def watched(source: Path) -> list[dict[str, Any]]:
    """Messages about a file or a folder, of a detector that finds everything normal."""
    told: list[dict[str, Any]] = []
    args = SimpleNamespace(source=str(source), speed=0.0, buffer=60.0, scores=True, once=True, poll=1.0)
    detector = SimpleNamespace(cut=CUT, score_windows=lambda windows, number: [0.0])
    monitor = Monitor(1.0, torch.zeros(4), CUT.hop, Rules())
    watch = _watch_folder if source.is_dir() else _watch_stream
    watch(args, detector, 0, monitor, told.append)  # type: ignore[arg-type]
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
    assert [one["type"] for one in told] == ["unusable", "summary"]
    assert told[0]["reason"] == "too short to judge, 0.5 s; a window is 1 s"


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
