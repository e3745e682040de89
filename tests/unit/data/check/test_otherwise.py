"""Files among one's own that were recorded otherwise than the others of their machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asd.data.check.check import check

RATE = 44100
ODD = "odd"


def noise(seed: int, level: float = 0.05) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, RATE)


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    """Six recordings of a machine, all alike."""
    folder = tmp_path / "pump/normal"
    folder.mkdir(parents=True)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", noise(number, 0.04 + 0.004 * number), RATE)
    return folder


def notes(pump: Path) -> list[str]:
    return [line for line in check(pump.parents[1]).remarks if line.startswith("pump: ")]


def test_recordings_that_are_alike_are_not_remarked_on(pump: Path) -> None:
    soundfile.write(pump / "x.flac", noise(9), RATE)
    assert notes(pump) == []


def test_a_file_of_a_lower_rate_is_named(pump: Path) -> None:
    soundfile.write(pump / f"{ODD}.wav", soxr.resample(noise(9), RATE, 16000), 16000)
    (line,) = notes(pump)
    assert line == (
        "pump: 1 of 7 files has no more than 8 kHz of bandwidth where others have 22 kHz, their sample rate is lower: "
        f"{pump}/{ODD}.wav; record all alike, or set data.band to shared"
    )


def test_files_that_were_resampled_up_are_named_also_where_they_are_most(pump: Path) -> None:
    for number in range(8):
        narrow = soxr.resample(noise(20 + number), RATE, 16000)
        soundfile.write(pump / f"{ODD}{number}.wav", soxr.resample(narrow, 16000, RATE), RATE)
    (line,) = notes(pump)
    assert line.startswith("pump: 8 of 14 files have no more than 7.")
    assert "where others have 22 kHz, they were resampled or compressed once" in line
    assert f"{ODD}2.wav and 5 more; record all alike" in line


def test_a_lossy_file_among_others_is_named(pump: Path) -> None:
    soundfile.write(pump / f"{ODD}.mp3", noise(9), RATE, format="MP3")
    lines = notes(pump)
    assert f"pump: 1 of 7 files is mp3, a lossy codec, beside wav: {pump}/{ODD}.mp3; record all alike" in lines


def test_levels_far_off_are_named_but_not_those_of_a_fault(pump: Path) -> None:
    soundfile.write(pump / f"{ODD}.wav", noise(9, 0.001), RATE)
    faults = pump.parent / "test/anomaly"
    faults.mkdir(parents=True)
    soundfile.write(faults / "loud.wav", noise(10, 0.5), RATE)
    (line,) = notes(pump)
    assert line.startswith("pump: 1 of 7 files has a level far from the usual -26 dBFS (-60): ")
    assert f"{ODD}.wav; was the gain changed, or the machine off?" in line


def test_noise_and_clean_recordings_are_others(pump: Path) -> None:
    (pump.parent / "noise").mkdir()
    for number in range(5):
        soundfile.write(pump.parent / f"noise/{number}.wav", noise(30 + number, 0.0005), 8000)
    assert notes(pump) == []
