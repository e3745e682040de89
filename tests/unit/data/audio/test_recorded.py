"""How a recording was made: level, noise floor, channels and codec, of whole files and of sound that keeps coming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.audio.recorded import Meter, Recorded, measured
from asd.data.clip import Sound

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).clip(-1, 1).astype(np.float32)


def heard(meter: Meter) -> Recorded:
    recorded = meter.recorded()
    assert recorded is not None
    return recorded


def test_level_and_floor_are_in_decibels_of_full_scale(tmp_path: Path) -> None:
    strokes = NOISE.reshape(8, -1).copy()
    strokes[::2] *= 0.01
    for samples, level, floor in ((NOISE, -20.0, -20.0), (strokes.ravel(), -23.0, -60.0)):
        path = tmp_path / "a.wav"
        soundfile.write(path, np.stack([samples, samples], 1), RATE)
        recorded = measured(path)
        assert recorded is not None
        assert (recorded.sample_rate, recorded.channels, recorded.codec) == (RATE, 2, "wav")
        assert not recorded.lossy
        assert recorded.level == pytest.approx(level, abs=0.2)
        assert recorded.floor == pytest.approx(floor, abs=1.0)


@pytest.mark.parametrize(
    ("name", "subtype", "codec", "lossy"),
    [
        ("a.flac", "PCM_16", "flac", False),
        ("a.wav", "FLOAT", "wav", False),
        ("a.aiff", "PCM_24", "aiff", False),
        ("a.ogg", "VORBIS", "vorbis", True),
        ("a.ogg", "OPUS", "opus", True),
        ("a.wav", "ULAW", "mu-law", True),
    ],
)
def test_the_codec_is_that_of_the_content(name: str, subtype: str, codec: str, lossy: bool, tmp_path: Path) -> None:
    soundfile.write(tmp_path / name, NOISE, RATE, subtype=subtype)
    recorded = measured(tmp_path / name)
    assert recorded is not None
    assert (recorded.codec, recorded.lossy) == (codec, lossy)


def test_a_stretch_in_which_a_recorder_stood_still_is_no_noise_floor() -> None:
    meter = Meter(RATE)
    meter.add(np.concatenate([NOISE[:RATE], np.zeros(RATE, np.float32)]))
    assert heard(meter).floor == pytest.approx(-20, abs=1)
    meter = Meter(RATE)
    meter.add(np.zeros(RATE, np.int16))
    assert meter.recorded() is None


def test_blocks_of_a_stream_say_the_same_as_the_whole() -> None:
    whole, parts = Meter(RATE), Meter(RATE)
    whole.add((NOISE * 32768).clip(-32768, 32767).astype(np.int16))
    for at in range(0, len(NOISE), 4000):
        parts.add(NOISE[at : at + 4000])
    assert parts.seconds == whole.seconds == 4.0
    for name in ("level", "floor", "bandwidth"):
        assert getattr(heard(parts), name) == pytest.approx(getattr(heard(whole), name), abs=0.5)


def test_a_part_of_a_recording_is_measured_alone(tmp_path: Path) -> None:
    path = tmp_path / "day.wav"
    soundfile.write(path, np.concatenate([0.1 * NOISE, NOISE]), RATE)
    late, begin = measured(Sound(path, 4.0, 4.0)), measured(path, longest=4.0)
    assert late is not None
    assert begin is not None
    assert late.level == pytest.approx(-20, abs=0.2)
    assert begin.level == pytest.approx(-40, abs=0.2)
