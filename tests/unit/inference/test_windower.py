"""Two microphones: a stream, a file and an array give the same windows, each subtracted by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from asd.data.audio.band import resample
from asd.data.audio.decoding import AudioError, read
from asd.data.audio.near_minus_far import near_minus_far
from asd.errors import UserError
from asd.inference.stream import Block, from_file, rate_of
from asd.inference.windower import Windower
from asd.inference.windows import Cut, cut_as_trained, windows_of, windows_of_array

RATE = 16000
CUT = Cut(RATE, seconds=1.0, hop=0.5, channel="near_minus_far")


def pair(seconds: float, rate: int = RATE) -> np.ndarray:
    """Near and far ``(T, 2)`` in steps of 16 bits; what is between them changes after a second."""
    rng, time = np.random.default_rng(5), np.arange(round(seconds * rate)) / rate
    noise = 0.1 * rng.normal(size=len(time))
    near = 0.1 * np.sin(2 * np.pi * 300 * time) + np.where(time < 1, 0.5, 1.5) * noise
    return np.rint(np.stack([near, noise], axis=1) * 32768) / 32768


def streamed(samples: np.ndarray, rate: int, cut: Cut) -> list[tuple[float, Tensor]]:
    windower = Windower(cut, rate)
    found = [one for some in np.array_split(samples, 13) for one in windower.push(Block(np.float32(some)))]
    return [*found, *windower.finish()]


@pytest.mark.parametrize("rate", [RATE, 44100])
@pytest.mark.parametrize("hop", [0.5, 1.25])
def test_windows_are_the_same_however_the_sound_comes(rate: int, hop: float, tmp_path: Path) -> None:
    cut, samples = replace(CUT, hop=hop), pair(3.5, rate)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    of_file, of_array = windows_of(tmp_path / "a.wav", cut), windows_of_array(samples, rate, cut)
    every = [list(of_file), list(of_array), streamed(samples, rate, cut)]
    for found in every:
        assert [start for start, _ in found] == pytest.approx([start for start, _ in every[2]])
        for start, window in found:
            own = torch.from_numpy(np.float32(samples[round(start * rate) :][:rate]))
            alone = near_minus_far(own[:, 0], own[:, 1], rate).numpy()
            assert np.allclose(window, resample(alone, rate, RATE, None), atol=1e-4)


def test_a_recording_of_one_window_is_subtracted_as_a_clip_is(tmp_path: Path) -> None:
    samples = pair(1.2)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    clip = read(tmp_path / "a.wav", RATE, "near_minus_far")[:RATE]
    for found in (windows_of(tmp_path / "a.wav", CUT), windows_of_array(samples, RATE, replace(CUT, hop=1.0))):
        assert np.allclose(next(found)[1], clip, atol=1e-4)


def test_a_window_in_which_one_microphone_is_dead_is_left_out(tmp_path: Path) -> None:
    samples = pair(3.0)
    samples[RATE : 2 * RATE, 1] = 0
    cut = replace(CUT, hop=1.0)
    windower = Windower(cut, RATE)
    assert [start for start, _ in windower.push(Block(np.float32(samples)))] == [0.0, 2.0]
    ((start, why),) = windower.left_out
    assert (start, windower.unusable) == (1.0, 1)
    assert "its far channel is silent" in why
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    left: list[float] = []
    assert [start for start, _ in windows_of(tmp_path / "a.wav", cut, on_unusable=lambda at, _: left.append(at))] == [
        0,
        2,
    ]
    assert left == [1.0]


def test_what_is_measured_of_a_stream_is_what_is_heard() -> None:
    samples, windower = pair(3.0), Windower(replace(CUT, hop=1.0), RATE)
    heard = torch.cat([window for _, window in windower.push(Block(np.float32(samples)))])
    recorded = windower.meter.recorded()
    assert recorded is not None
    assert recorded.level == pytest.approx(10 * float(heard.square().mean().log10()), abs=0.05)


def test_one_channel_is_refused(tmp_path: Path) -> None:
    one = pair(2.0)[:, :1]
    with pytest.raises(UserError, match=r"takes a near and a far channel, the stream has 1; .*--channels 2"):
        list(Windower(CUT, RATE).push(Block(np.float32(one))))
    for samples in (one, one[:, 0]):
        with pytest.raises(AudioError, match=r"the samples: near_minus_far takes .* they have 1; give all channels"):
            list(windows_of_array(samples, RATE, CUT))
    soundfile.write(tmp_path / "mono.wav", one, RATE)
    with pytest.raises(AudioError, match=r"mono\.wav: near_minus_far"):
        rate_of(tmp_path / "mono.wav", CUT.channel)
    assert len(list(from_file(tmp_path / "mono.wav", 0.0))) > 1, "whoever listens to the mean takes it"


@pytest.mark.parametrize(
    ("data", "channel"),
    [({}, None), ({"channel": "far"}, 1), ({"channel": None, "channels": "near_minus_far"}, "near_minus_far"),
     ({"channel": 0, "channels": "mean"}, 0), ({"channels": 2}, 2)],
)  # fmt: skip
def test_the_checkpoint_says_the_channel_by_both_names(data: dict[str, object], channel: object) -> None:
    assert cut_as_trained(data, RATE).channel == channel
