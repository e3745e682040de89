"""What `edge.py` hears: sample by sample the windows of the detector, and without soxr nearly the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.audio import band
from asd.data.audio.decoding import AudioError
from asd.data.audio.recorded import measured
from asd.data.audio.usual_recording import UsualRecording, remark
from asd.inference import edge_sound, windows
from asd.inference.edge_sound import Cut, Recording, Unusable

RATE = 16000


def sound(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    """A hum with harmonics in noise."""
    time = np.arange(round(rate * seconds)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return sum(0.1 / n * np.sin(2 * np.pi * 120 * n * time) for n in range(1, 20)) + 0.02 * noise


def both(path: Path, seconds: float, hop: float, pad: str = "repeat", channel: int | None = None, **more: float):
    """Starts and samples of windows as `edge.py` and as the detector make them, and what the former left out."""
    limit = more.get("band")
    left_out: list[tuple[float, str]] = []
    cut = Cut(RATE, seconds, hop, pad, channel, None if limit is None else band.stop(limit))
    ours = list(Recording(path, cut, lambda *one: left_out.append(one)).windows())
    other = windows.Cut(RATE, seconds, hop, pad, channel, limit)  # type: ignore[arg-type]
    told: list[tuple[float, str]] = []
    theirs = list(windows.windows_of(path, other, on_unusable=lambda *one: told.append(one)))
    assert left_out == told
    assert [start for start, _ in ours] == [start for start, _ in theirs]
    return np.stack([one for _, one in ours]), np.stack([one.numpy() for _, one in theirs])


@pytest.fixture(params=["one", "two", "loud", "gap", "mp3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Recordings of 2.75 s: 16 bits, two channels of another rate, beyond full scale, with silence, compressed."""
    name, samples = tmp_path / "a.wav", sound(RATE, 2.75)
    match request.param:
        case "one":
            soundfile.write(name, samples, RATE)
        case "two":
            soundfile.write(name, np.stack([sound(44100, 2.75), sound(44100, 2.75, 1)], 1), 44100)
        case "loud":
            soundfile.write(name, 3 * sound(22050, 2.75), 22050, subtype="FLOAT")
        case "gap":
            samples[RATE : 2 * RATE] = 0
            soundfile.write(name, samples, RATE)
        case "mp3":
            name = tmp_path / "a.mp3"
            soundfile.write(name, sound(48000, 2.75), 48000)
    return name


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("hop", [1.0, 0.5])
def test_windows_are_those_of_the_detector(
    path: Path, hop: float, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        for module in (windows, edge_sound):
            monkeypatch.setattr(module, "LONGEST_AT_ONCE", 0.0)
    ours, theirs = both(path, 1.0, hop)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("pad", ["repeat", "zeros"])
@pytest.mark.parametrize("rate", [RATE, 48000])
def test_what_is_too_short_is_filled_up_alike(pad: str, rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(rate, 0.4), rate)
    ours, theirs = both(tmp_path / "a.wav", 1.0, 1.0, pad)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("channel", [0, 1])
def test_one_channel_is_taken(channel: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([sound(RATE, 1), sound(RATE, 1, 1)], 1), RATE)
    ours, theirs = both(tmp_path / "a.wav", 1.0, 1.0, channel=channel)
    assert np.array_equal(ours, theirs)
    soundfile.write(tmp_path / "a.wav", sound(RATE, 1), RATE)
    with pytest.raises(Unusable, match="no channel 1, the file has 1"):
        Recording(tmp_path / "a.wav", Cut(RATE, 1, 1, "repeat", 1, None), lambda *_: None)


@pytest.mark.parametrize("rate", [RATE, 44100, 8000])
def test_nothing_is_heard_above_a_limit(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(rate, 2.75), rate)
    ours, theirs = both(tmp_path / "a.wav", 1.0, 1.0, band=4000.0)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_without_soxr_it_resamples_nearly_as_well(rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", sound(rate, 2.75), rate, subtype="FLOAT")
    monkeypatch.setattr(edge_sound, "soxr", None)
    ours, theirs = both(tmp_path / "a.wav", 1.0, 1.0)
    assert ours.shape == theirs.shape
    # White noise up to the limit differs by -60 dB, in the slope of the filter; a hum hardly at all.
    assert np.square(ours - theirs).mean() < 10**-6 * np.square(theirs).mean()


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (np.zeros(RATE), "silent, every sample is zero"),
        (np.full(RATE, 0.25), "constant, every sample is 0.25"),
        (np.sign(sound(RATE, 1)), "nothing but clipping"),
        (np.full(RATE, np.nan), "not finite"),
        (50 * sound(RATE, 1), "beyond full scale"),
        (sound(RATE, 0.05), "too short to judge, 0.05 s; 0.1 s are needed"),
    ],
)
def test_what_tells_nothing_is_refused_as_the_detector_does(samples: np.ndarray, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    cut = Cut(RATE, 1, 1, "repeat", None, None)
    with pytest.raises(Unusable, match=why):
        list(Recording(path, cut, lambda *_: None).windows())
    with pytest.raises(AudioError), warnings.catch_warnings(action="ignore"):
        list(windows.windows_of(path, windows.Cut(RATE, 1.0, 1.0)))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound\n")
    soundfile.write(tmp_path / "cut.flac", sound(RATE, 3), RATE)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    cut = Cut(RATE, 1, 1, "repeat", None, None)
    for name, why in (
        ("text.wav", "cannot be read as audio"),
        ("absent.wav", "no such file"),
        ("cut.flac", "copy it again"),
    ):
        with pytest.raises(Unusable, match=why):
            list(Recording(tmp_path / name, cut, lambda *_: None).windows())


def test_what_was_recorded_otherwise_is_told_in_the_words_of_the_detector(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "usual.wav", sound(RATE, 1), RATE)
    found = measured(tmp_path / "usual.wav")
    assert found is not None
    usual = UsualRecording.of([found])
    assert usual is not None
    cut = Cut(RATE, 1, 1, "repeat", None, None)
    soundfile.write(tmp_path / "stereo.wav", 0.01 * np.stack([sound(RATE, 1)] * 2, 1), RATE, subtype="FLOAT")
    for name in ("usual.wav", "stereo.wav"):
        recording = Recording(tmp_path / name, cut, lambda *_: None)
        list(recording.windows())
        other = measured(tmp_path / name)
        assert other is not None
        assert recording.recorded_otherwise(vars_of(usual)) == remark(usual.otherwise(other, RATE))
    soundfile.write(tmp_path / "slow.wav", sound(8000, 1), 8000)
    recording = Recording(tmp_path / "slow.wav", cut, lambda *_: None)
    list(recording.windows())
    assert "sampled at 8000 Hz where 16000 Hz was learned" in recording.recorded_otherwise(vars_of(usual))


def vars_of(usual: UsualRecording) -> dict:
    """As a manifest has it."""
    return json.loads(usual.to_json())
