"""Which channel is heard: by name, by number, the mean, or near minus far; and what cannot be heard is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio.channels import channel_of
from asd.data.audio.decoding import AudioError, decode, read, read_header
from asd.data.audio.disk_cache import DiskCache
from asd.data.audio.near_minus_far import near_minus_far
from asd.data.audio.recorded import measured
from asd.data.clip import Clip, Member, Sound
from asd.errors import UserError

RATE = 16000
RNG = np.random.default_rng(0)
NEAR, FAR = 0.1 * RNG.normal(size=(2, RATE))


def stereo(path: Path, near: np.ndarray = NEAR, far: np.ndarray = FAR, rate: int = RATE) -> Path:
    soundfile.write(path, np.stack([near, far], axis=1), rate)
    return path


@pytest.mark.parametrize(
    ("asked", "channel"),
    [("mean", None), (None, None), ("near", 0), ("far", 1), (0, 0), (3, 3), ("near_minus_far", "near_minus_far")],
)
def test_channels_have_names(asked: object, channel: object) -> None:
    assert channel_of(asked) == channel
    assert channel_of("mean", asked) == channel, "as the option was called before"


@pytest.mark.parametrize("asked", ["left", -1, True, 1.5, ["near"]])
def test_other_names_are_refused(asked: object) -> None:
    with pytest.raises(UserError, match=r"data\.channels must be at least 0, near, far, near_minus_far or mean"):
        channel_of(asked)
    with pytest.raises(UserError, match=r"data\.channel must be"):
        channel_of("mean", asked)


def test_both_names_of_the_option_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.channels is 'far' and data\.channel, its earlier name, 0"):
        channel_of("far", 0)


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_a_file_is_subtracted_at_its_own_rate(rate: int, tmp_path: Path) -> None:
    path = stereo(tmp_path / "a.wav", rate=rate)
    values = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    expected = near_minus_far(values[:, 0], values[:, 1], rate).numpy()
    assert np.allclose(read(path, rate, "near_minus_far"), expected, atol=1e-7)
    found = measured(path, "near_minus_far")
    assert found is not None
    assert found.level == pytest.approx(10 * np.log10(np.mean(expected**2)), abs=0.01)


def test_more_channels_than_two_are_no_hindrance(tmp_path: Path) -> None:
    both = stereo(tmp_path / "two.wav")
    soundfile.write(tmp_path / "three.wav", np.stack([NEAR, FAR, np.zeros(RATE)], axis=1), RATE)
    one, other = (read(path, RATE, "near_minus_far") for path in (both, tmp_path / "three.wav"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("near", "far", "why"),
    [
        (NEAR, NEAR, "near and far channel are the same sound"),
        (NEAR, -0.5 * NEAR, "near and far channel are the same sound"),
        (NEAR, 0 * FAR, "its far channel is silent, every sample is zero"),
        (0 * NEAR, FAR, "its near channel is silent, every sample is zero"),
        (NEAR, np.full(RATE, 0.25), "its far channel is constant"),
        (NEAR[:1023], FAR[:1023], "shorter than the 64 ms"),
    ],
)
def test_a_pair_of_which_nothing_would_be_heard_is_named(
    near: np.ndarray, far: np.ndarray, why: str, tmp_path: Path
) -> None:
    path = stereo(tmp_path / "pump.wav", near, far)
    with pytest.raises(AudioError, match=rf"pump\.wav: {why}"):
        decode(path, RATE, "near_minus_far")


def test_one_channel_where_two_are_needed_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", NEAR, RATE)
    told = r"mono\.wav: near_minus_far takes a near and a far channel, the file has 1; give recordings of both"
    for use in (read_header, lambda path, channel: read(path, RATE, channel)):
        with pytest.raises(AudioError, match=told):
            use(tmp_path / "mono.wav", "near_minus_far")
    member = Member("no.tar", 0, 10**6, RATE, 1, RATE)
    assert read_header(Sound(Path("a.wav"), member=member)).channels == 1
    with pytest.raises(AudioError, match=r"no\.tar"):
        read_header(Sound(Path("a.wav"), member=member), "near_minus_far")


def test_a_clip_may_say_its_channel(tmp_path: Path) -> None:
    path = stereo(tmp_path / "a.wav")
    sound = Clip(path, "pump", channel=1).sound
    for asked in (None, 0, "near_minus_far"):
        assert np.array_equal(decode(sound, RATE, asked), soundfile.read(path, dtype="int16")[0][:, 1])


def test_a_cache_on_disk_tells_channels_apart(tmp_path: Path) -> None:
    path = stereo(tmp_path / "a.wav")
    sounds = {Sound(path): RATE, Sound(path, channel=1): RATE}
    for channel in (0, "near_minus_far", None):
        for _ in ("written", "read again"):
            cache = DiskCache.built(tmp_path / "cache", "train", sounds, RATE, channel)
            for sound in sounds:
                samples, step = cache.get(cache.slot(sound))  # type: ignore[misc]
                assert np.allclose(samples.numpy() * step, read(sound, RATE, channel), atol=2e-5)
    assert len(list((tmp_path / "cache").glob("*.pcm"))) == 3
