"""The sound around an event is kept, as it was, and never more than there is room for."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.inference.stream import Block
from asd.plant.clips import Clips, Recorder

RATE = 1000
RAMP = (np.arange(60 * RATE) / (60 * RATE)).astype(np.float32)[:, None]


def heard(recorder: Recorder, start: float, end: float, lost: float = 0.0) -> None:
    """Give the seconds from `start` to `end` of the ramp."""
    blocks = [Block(RAMP[at : at + 250], round(lost * RATE) if at == round(start * RATE) else 0)
              for at in range(round(start * RATE), round(end * RATE), 250)]  # fmt: skip
    assert [id(block) for block in recorder.tap(blocks)] == [id(block) for block in blocks]


def test_a_clip_is_the_event_and_what_was_before_it() -> None:
    recorder = Recorder(RATE, before=2.0, longest=20.0, late=3.0)
    heard(recorder, 0, 13)
    recorder.begin(11.5)
    heard(recorder, 13, 17)
    np.testing.assert_array_equal(recorder.end(), RAMP[9500:17000])
    heard(recorder, 17, 30)
    recorder.begin(28.0)
    np.testing.assert_array_equal(recorder.end(), RAMP[26000:30000])


def test_a_long_event_keeps_its_beginning_and_memory_its_bound() -> None:
    recorder = Recorder(RATE, before=2.0, longest=8.0, late=3.0)
    heard(recorder, 0, 10)
    recorder.begin(9.0)
    heard(recorder, 10, 55)
    assert sum(len(samples) for _, samples in recorder._parts) <= 8.5 * RATE
    np.testing.assert_array_equal(recorder.end(), RAMP[7000:15000])
    heard(recorder, 55, 60)
    assert sum(len(samples) for _, samples in recorder._parts) <= 5.25 * RATE


def test_an_event_at_the_start_and_one_after_a_gap() -> None:
    recorder = Recorder(RATE, before=5.0, longest=20.0, late=3.0)
    recorder.begin(0.0)
    assert recorder.end().shape == (0, 1)
    heard(recorder, 0, 2)
    heard(recorder, 2, 4, lost=10.0)
    recorder.begin(13.0)
    np.testing.assert_array_equal(recorder.end(), RAMP[2000:4000])


def test_the_oldest_clips_go_and_other_files_stay(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (8000, 2)).astype(np.float32)
    (tmp_path / "notes.txt").write_text("x" * 100_000)
    clips = Clips(tmp_path, megabytes=0.08)
    kept = [clips.keep("pump", noise, RATE) for _ in range(4)]
    assert len(set(kept)) == 4, "also within a second"
    for age, path in enumerate(kept):
        if path and Path(path).exists():
            os.utime(path, (1e9 + age, 1e9 + age))
    last = clips.keep("pump", noise, RATE)
    there = sorted(str(path) for path in tmp_path.glob("*.flac"))
    assert there == sorted([kept[3], last]), "two of 32 kB each have room"
    assert (tmp_path / "notes.txt").exists()
    samples, rate = soundfile.read(last, dtype="float32")
    assert rate == RATE
    assert np.abs(samples - noise).max() <= 2 / 32768


def test_where_no_clip_can_be_kept_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asd")
    (tmp_path / "file").touch()
    clips = Clips(tmp_path / "file", megabytes=1)
    assert clips.keep("pump", RAMP, RATE) is None
    assert clips.keep("pump", RAMP, RATE) is None
    (said,) = caplog.messages
    assert said == f"asd: warning: {tmp_path}/file: no clip can be kept (File exists); events have none"
    (tmp_path / "file").unlink()
    assert clips.keep("pump", RAMP, RATE) is not None
