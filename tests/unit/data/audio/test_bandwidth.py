"""Up to where recordings hold sound: what a recorder, a codec or resampling cut off, and what merely dies away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import resample_poly

from asd.data.audio.recorded import measured

RATE = 44100


def sound(level: float, slope: float, hiss: float, seconds: float = 2.0, seed: int = 0) -> NDArray[np.float64]:
    """Noise of `level` dBFS that falls by `slope` dB an octave, and the hiss of a microphone."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 50)
    machine = np.fft.irfft(np.fft.rfft(rng.normal(size=count)) * frequency ** (-slope / 6), count)
    return machine * 10 ** (level / 20) / machine.std() + rng.normal(size=count) * 10 ** (hiss / 20)


def bandwidth(path: Path) -> float:
    recorded = measured(path)
    assert recorded is not None
    return recorded.bandwidth


def written(path: Path, samples: NDArray[np.float64], rate: int, **options: str) -> Path:
    soundfile.write(path, samples.clip(-1, 1), rate, **options)
    return path


@pytest.mark.parametrize("seconds", [0.1, 2.0])
@pytest.mark.parametrize(("level", "slope", "hiss"), [(-20, 0, -70), (-60, 6, -75), (-20, 12, -75), (-75, 24, -76)])
def test_a_machine_without_high_frequencies_has_the_bandwidth_of_its_recorder(
    level: float, slope: float, hiss: float, seconds: float, tmp_path: Path
) -> None:
    assert bandwidth(written(tmp_path / "a.wav", sound(level, slope, hiss, seconds), RATE)) == RATE / 2


@pytest.mark.parametrize("seconds", [0.1, 2.0])
@pytest.mark.parametrize(("level", "slope"), [(-20, 0), (-60, 6), (-20, 12)])
@pytest.mark.parametrize("rate", [8000, 16000, 32000])
def test_what_was_resampled_up_has_the_bandwidth_of_what_it_was(
    rate: int, level: float, slope: float, seconds: float, tmp_path: Path
) -> None:
    narrow = soxr.resample(sound(level, slope, -72, seconds), RATE, rate)
    path = written(tmp_path / "a.wav", soxr.resample(narrow, rate, RATE), RATE)
    assert bandwidth(path) == pytest.approx(rate / 2, rel=0.1)
    if rate == 16000 and slope < 12:  # whose filter is weak
        assert bandwidth(written(tmp_path / "b.wav", resample_poly(narrow, 441, 160), RATE)) == pytest.approx(
            8000, rel=0.12
        )


def test_a_lossy_codec_shows_in_bandwidth_and_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp3", sound(-20, 6, -70), RATE, format="MP3", subtype="MPEG_LAYER_III")
    recorded = measured(path)
    assert recorded is not None
    assert recorded.bandwidth < 21000
    assert (recorded.codec, recorded.lossy) == ("mp3", True)


def test_tones_are_no_band_and_hide_none(tmp_path: Path) -> None:
    time = np.arange(2 * RATE) / RATE
    hum = 0.2 * np.sin(2 * np.pi * 3000 * time)
    assert bandwidth(written(tmp_path / "a.wav", hum + sound(-70, 0, -70), RATE)) == RATE / 2
    narrow = soxr.resample(soxr.resample(sound(-20, 6, -60), RATE, 16000), 16000, RATE)
    whistle = 0.001 * np.sin(2 * np.pi * 15734 * time)
    assert bandwidth(written(tmp_path / "b.wav", narrow + whistle, RATE)) == pytest.approx(8000, rel=0.1)


def test_silence_and_less_than_a_frame_tell_nothing(tmp_path: Path) -> None:
    assert measured(written(tmp_path / "a.wav", sound(-20, 0, -70)[:500], RATE)) is None
