"""A limit of the band: what lies above is gone, what lies below is as it was, in files and in streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from asd.data.audio.band import Resampler, check_band, rates, resample, stop
from asd.data.audio.decoding import decode
from asd.data.audio.disk_cache import DiskCache
from asd.data.clip import Sound
from asd.errors import UserError

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.1, 2 * 44100).clip(-1, 1).astype(np.float32)


def heard(path: Path, band: float | None) -> np.ndarray:
    samples = decode(path, RATE, band=band)
    return samples / 32768 if samples.dtype == np.int16 else samples


def level(samples: np.ndarray, rate: int, low: float, high: float) -> float:
    """Mean power between two frequencies, in decibels."""
    spectrum = np.abs(np.fft.rfft(samples * np.blackman(len(samples)))) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    return float(10 * np.log10(spectrum[(frequency >= low) & (frequency < high)].mean()))


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_nothing_is_left_above_the_limit_and_all_below(rate: int) -> None:
    free, limited = (resample(NOISE, rate, RATE, band) for band in (None, 8000.0))
    assert len(limited) == len(free)
    assert level(limited, RATE, 100, 6000) == pytest.approx(level(free, RATE, 100, 6000), abs=0.1)
    assert level(limited, RATE, stop(8000.0) + 50, 7900) < level(free, RATE, 7250, 7900) - 45


def test_a_limit_above_what_is_heard_changes_nothing() -> None:
    assert rates(44100, RATE, None) == rates(44100, RATE, 20000.0) == [44100, RATE]
    assert rates(RATE, RATE, None) == rates(RATE, RATE, 10000.0) == [RATE]
    assert rates(8000, RATE, 8000.0) == [8000, RATE], "a file of half the rate has nothing there"
    assert rates(44100, RATE, 8000.0) == [44100, 14400, RATE]
    assert resample(NOISE, RATE, RATE, 20000.0) is NOISE


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_stream_is_limited_as_a_file_is(rate: int) -> None:
    resampler = Resampler(rate, RATE, 8000.0)
    parts = [resampler.push(NOISE[at : at + 999]) for at in range(0, len(NOISE), 999)]
    whole = np.concatenate([*parts, resampler.push(np.empty(0, np.float32), last=True)])
    expected = resample(NOISE, rate, RATE, 8000.0)
    assert abs(len(whole) - len(expected)) <= 1
    count = min(len(whole), len(expected))
    assert np.abs(whole[:count] - expected[:count]).max() < 1e-4
    assert not resampler.idle
    assert Resampler(RATE, RATE, None).idle


def test_a_copy_of_half_the_rate_is_the_same_sound_whoever_made_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE, 44100)
    soundfile.write(tmp_path / "b.wav", resample_poly(NOISE, 160, 441), RATE)
    for band, least, most in ((None, 10.0, 200.0), (8000.0, 0.0, 1.0)):
        wide, narrow = (heard(tmp_path / name, band) for name in ("a.wav", "b.wav"))
        apart = max(
            abs(level(wide, RATE, low, low + 250) - level(narrow, RATE, low, low + 250)) for low in range(0, 8000, 250)
        )
        assert least <= apart <= most, band


def test_what_is_cached_on_disk_is_of_its_limit(tmp_path: Path) -> None:
    sound = Sound(tmp_path / "a.wav")
    soundfile.write(sound.path, NOISE, RATE)
    free, limited, again = (
        DiskCache.built(tmp_path / "cache", "train", {sound: len(NOISE)}, RATE, None, band)
        for band in (None, 8000.0, 8000.0)
    )
    assert free.path != limited.path == again.path
    samples, step = limited.get(limited.slot(sound)) or (np.empty(0), 0.0)
    assert np.allclose(np.asarray(samples) * step, heard(sound.path, 8000.0), atol=1e-4)


@pytest.mark.parametrize("band", [0.0, -1.0, 49.0, 1e9, float("nan"), float("inf"), "all", "8 kHz"])
def test_a_limit_that_is_none_is_refused(band: float | str) -> None:
    with pytest.raises(UserError, match=r"data\.band must be null, shared, or 50 to 1e\+06 Hz of bandwidth, got"):
        check_band(band)
    for right in (None, "shared", 50.0, 8000, 1e6):
        check_band(right)
