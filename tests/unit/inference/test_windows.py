"""Recordings as windows: what cannot be judged is left out and told, never scored."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio.decoding import AudioError
from asd.errors import Notice
from asd.inference import windows
from asd.inference.stream import Block, from_file, rate_of
from asd.inference.windower import Windower
from asd.inference.windows import LEAST_TO_JUDGE, Cut, windows_of, windows_of_array
from tests.unit.data.audio.test_containers import NO_LENGTH, RATE, SAMPLES

CUT = Cut(RATE, seconds=1.0, hop=1.0)
SOUND = SAMPLES[:RATE]
DEAD = {
    "silent": np.zeros(RATE),
    "constant": np.full(RATE, 0.25),
    "1e-30": SOUND * 1e-30,
    "clipped": np.sign(SOUND),
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
def test_a_dead_window_is_left_out_and_told(
    dead: np.ndarray, rate: int, at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(windows, "LONGEST_AT_ONCE", 0.0)
    path = tmp_path / "a.wav"
    twice = np.repeat if rate == 2 * RATE else lambda samples, _: samples
    soundfile.write(path, twice(np.concatenate([SOUND, dead, SOUND]), 2), rate, subtype="FLOAT")
    with pytest.warns(Notice, match=r"a\.wav: 1 of 3 windows are unusable and left out, the first at 1 s: "):
        assert [start for start, _ in windows_of(path, CUT)] == [0.0, 2.0]
    told: list[tuple[float, str]] = []
    with warnings.catch_warnings(action="error"):
        list(windows_of(path, CUT, on_unusable=lambda start, why: told.append((start, why))))
    assert [start for start, _ in told] == [1.0]
    samples = soundfile.read(path, dtype="float32")[0]
    with pytest.warns(Notice, match="the samples: 1 of 3 windows are unusable"):
        assert [start for start, _ in windows_of_array(samples, rate, CUT)] == [0.0, 2.0]
    for alone in (dead, np.concatenate([dead, dead])):
        soundfile.write(path, alone, RATE, subtype="FLOAT")
        with pytest.raises(AudioError, match="unusable"):
            list(windows_of(path, CUT))
        with pytest.raises(AudioError, match="unusable"):
            list(windows_of_array(alone, RATE, CUT))


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
def test_a_stream_tells_when_and_why_a_window_is_left_out(dead: np.ndarray, rate: int) -> None:
    windower = Windower(CUT, rate)
    stream = np.concatenate([dead, SOUND, dead, SOUND, SOUND]).repeat(rate // RATE).astype(np.float32)
    starts, left_out = [], []
    for some in np.array_split(stream, 21):
        starts += [start for start, _ in windower.push(Block(some[:, None]))]
        left_out += windower.left_out
    assert starts == pytest.approx([1.0, 3.0, 4.0][: len(starts)])
    assert len(starts) >= 2, "a resampler holds the last samples back"
    assert [start for start, _ in left_out] == pytest.approx([0.0, 2.0])
    assert all(why for _, why in left_out)
    assert windower.unusable == 2


def test_samples_that_are_no_sound_are_left_out_of_a_stream() -> None:
    windower = Windower(CUT, RATE)
    scaled = np.concatenate([SOUND, SOUND * 30000])
    assert [start for start, _ in windower.push(Block(scaled[:, None]))] == [0.0]
    assert "full scale is 1" in windower.left_out[0][1]


def test_less_than_the_least_part_of_a_window_is_too_short_to_judge(tmp_path: Path) -> None:
    least = round(LEAST_TO_JUDGE * RATE)
    path = tmp_path / "a.wav"
    soundfile.write(path, SOUND[: least - 1], RATE)
    with pytest.raises(AudioError, match=r"a\.wav: too short to judge, 0\.0999 s; 0\.1 s are needed"):
        list(windows_of(path, CUT))
    with pytest.raises(AudioError, match="the samples: too short to judge"):
        list(windows_of_array(SOUND[: least - 1], RATE, CUT))
    soundfile.write(path, SOUND[:least], RATE)
    ((_, window),) = windows_of(path, CUT)
    assert window.shape == (RATE,)


@pytest.mark.parametrize(
    ("seconds", "hop", "starts"),
    [(1.49, 1.0, [0.0]), (1.5, 1.0, [0.0, 0.5]), (2.4, 1.0, [0.0, 1.0]), (2.5, 1.0, [0.0, 1.0, 1.5]),
     (1.45, 0.4, [0.0, 0.4]), (3.6, 2.0, [0.0, 2.0, 2.6])],
)  # fmt: skip
def test_a_last_window_is_there_for_half_a_window_or_more(seconds: float, hop: float, starts: list[float]) -> None:
    assert replace(CUT, hop=hop).starts(seconds) == pytest.approx(starts)


def test_a_file_without_a_length_is_scored_and_watched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(NO_LENGTH)
    whole = list(windows_of(path, CUT))
    assert [start for start, _ in whole] == [0.0, 1.0]
    monkeypatch.setattr(windows, "LONGEST_AT_ONCE", 0.0)
    for (_, one), (_, other) in zip(whole, windows_of(path, CUT), strict=True):
        assert torch.equal(one, other)
    blocks = list(from_file(path, speed=0))
    assert sum(len(block.samples) for block in blocks) == len(SAMPLES)
    assert rate_of(path) == RATE


def test_zeros_at_the_end_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.concatenate([SOUND, np.zeros(RATE // 2)]), RATE)
    with pytest.warns(Notice, match=r"a\.wav: ends in 0\.5 s of zeros"):
        list(windows_of(path, CUT))


@pytest.mark.parametrize("longest", [300.0, 0.0])
def test_a_half_file_is_never_scored_on_to_its_end(
    longest: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "LONGEST_AT_ONCE", longest)
    path = tmp_path / "a.flac"
    soundfile.write(path, np.tile(SAMPLES, 4), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="cut short"):
        list(windows_of(path, CUT))
