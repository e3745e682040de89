"""Files as they come: read exactly, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.audio.decoding import AudioError, decode, read, read_header

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.1, 4000)


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def tone(rate: int, hertz: float = 1000.0, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_16_bit_files_are_read_bit_exactly(tmp_path: Path, suffix: str) -> None:
    steps = np.array([-32768, -1, 0, 1, 2, 32767], dtype=np.int16)
    path = write(tmp_path / f"a.{suffix}", steps)
    stored = decode(path, RATE)
    assert stored.dtype == np.int16
    assert stored.tolist() == steps.tolist()
    samples = read(path, RATE)
    assert samples.dtype == np.float32
    assert (samples * 32768).tolist() == steps.tolist()
    assert np.array_equal(samples, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    samples = read(write(tmp_path / "a.wav", tone(rate), rate), RATE)
    assert len(samples) == 8000
    middle = slice(1000, 7000)
    assert np.abs(samples[middle] - tone(RATE)[middle]).max() < 1e-3


def test_what_cannot_be_heard_at_the_new_rate_is_removed(tmp_path: Path) -> None:
    samples = read(write(tmp_path / "a.wav", tone(48000, hertz=11000.0), 48000), RATE)
    assert np.abs(samples[1000:7000]).max() < 1e-3


def test_the_header_bounds_the_length(tmp_path: Path) -> None:
    for rate in (11025, 16000, 44100):
        path = write(tmp_path / "a.wav", NOISE, rate)
        samples = read_header(path).samples_at(RATE)
        assert len(read(path, RATE)) <= samples <= len(read(path, RATE)) + 2


def test_channels_are_averaged_or_chosen(tmp_path: Path) -> None:
    both = np.stack([np.arange(1000, 1100), np.arange(3000, 3100)], axis=1).astype(np.int16)
    path = write(tmp_path / "stereo.wav", both)
    assert np.allclose(read(path, RATE), np.arange(2000, 2100) / 32768)
    assert np.array_equal(read(path, RATE, channel=0), both[:, 0] / np.float32(32768))
    assert np.array_equal(read(path, RATE, channel=1), both[:, 1] / np.float32(32768))
    assert decode(path, RATE, channel=1).dtype == np.int16


def test_24_bit_precision_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", NOISE * 1e-4, subtype="PCM_24")
    assert np.abs(read(path, RATE) - NOISE * 1e-4).max() < 1e-6


def test_overshoot_is_limited_to_full_scale(tmp_path: Path) -> None:
    samples = read(write(tmp_path / "a.wav", np.array([0.5, 1.2, -1.2]), subtype="FLOAT"), RATE)
    assert samples.tolist() == [0.5, 1.0, -1.0]


def cut(path: Path) -> None:
    whole = write(path, NOISE).read_bytes()
    path.write_bytes(whole[:5000])


def with_sample(value: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        samples = NOISE.copy()
        samples[7] = value
        write(path, samples, subtype="FLOAT")

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("this is no sound\n"), "cannot be read as audio"),
        (lambda path: path.write_bytes(b""), "cannot be read as audio"),
        (lambda path: path.write_bytes(b"RIFF" + bytes(20)), "cannot be read as audio"),
        (lambda path: path.mkdir(), "cannot be read as audio"),
        (cut, "cut short"),
        (lambda path: write(path, NOISE[:0]), "no samples"),
        (lambda path: write(path, np.zeros(100)), "silent"),
        (with_sample(np.nan), "not finite"),
        (with_sample(np.inf), "not finite"),
        (with_sample(-5.0), "samples reach 5"),
        (lambda path: write(path, NOISE[:2], rate=192000), "too short"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "damaged.wav"
    damage(path)
    with pytest.raises(AudioError, match=reason) as error:
        read(path, RATE)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "subtype", "reason"),
    [
        (np.full(4000, 0.3), "PCM_16", "constant, every sample is 0.3 of full scale"),
        (np.full(4000, -0.3), "FLOAT", "constant"),
        (NOISE[:1], "PCM_16", "constant"),
        (0.3 + NOISE * 1e-9, "FLOAT", "constant"),
        (NOISE * 1e-30, "FLOAT", "constant"),
        (np.full(4000, 1e-30), "DOUBLE", "constant"),
        (np.sign(NOISE), "PCM_16", "nothing but clipping"),
        (np.sign(NOISE) * 1.2, "FLOAT", "nothing but clipping"),
        (np.sign(NOISE), "ULAW", "nothing but clipping"),
        (np.ones(4000), "PCM_24", "constant"),
        (np.sign(np.stack([NOISE, NOISE[::-1]], 1)), "PCM_16", "nothing but clipping"),
    ],
)
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_where_nothing_can_be_heard_is_unusable(
    samples: np.ndarray, subtype: str, reason: str, rate: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "dead.wav", samples, rate, subtype)
    with pytest.raises(AudioError, match=f"dead.wav: {reason}.*unusable.*check the sensor"):
        read(path, RATE)


@pytest.mark.parametrize(
    "samples", [NOISE * 1e-5, np.clip(NOISE * 30, -1, 1), 0.5 + NOISE * 1e-3, np.sign(NOISE) * 0.5], ids=str
)
def test_quiet_clipped_and_shifted_sound_is_used(samples: np.ndarray, tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "a.wav", samples, subtype="FLOAT"), RATE)) == len(NOISE)


def test_a_damaged_flac_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(0).normal(0, 0.1, 40000))
    content = bytearray(path.read_bytes())
    content[9000:30000] = bytes(21000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.flac"):
        read(path, RATE)


@pytest.mark.parametrize("channel", [2, -1])
def test_a_channel_that_is_not_there_is_named(tmp_path: Path, channel: int) -> None:
    path = write(tmp_path / "stereo.wav", np.stack([NOISE, NOISE], axis=1))
    with pytest.raises(AudioError, match=f"no channel {channel}, the file has 2"):
        read_header(path, channel)
    with pytest.raises(AudioError, match=f"no channel {channel}"):
        read(path, RATE, channel)


def test_a_recorder_that_never_wrote_the_length_is_forgiven(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", NOISE)
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read(path, RATE)) == len(NOISE)
