"""The far channel of training clips is background noise where there is no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio.channels import channel_of
from asd.data.audio.decoding import read
from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.data.far_noise import with_far_noise
from asd.data.mixing import NoiseMix
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.errors import UserError

RATE = 16000
PUMP = [
    Clip(Path(f"{number:02}.wav"), "pump", domain=Domain.SOURCE, condition=Condition.NORMAL, attributes="spd_1")
    for number in range(20)
]


def far(clips: list[Clip], part: float) -> list[Clip]:
    found = with_far_noise(clips, part)
    assert found[: len(clips)] == clips
    return found[len(clips) :]


def test_a_part_of_the_training_clips_is_heard_from_afar() -> None:
    found = far(PUMP, 0.2)
    assert [clip.path.stem for clip in found] == ["00", "05", "10", "15"]
    for clip in found:
        assert (clip.kind, clip.channel, clip.attributes, clip.split) == (Kind.NOISE, 1, "", Split.SUPPLEMENTAL)
        assert clip.sound.channel == 1
    assert len(far(PUMP, 1.0)) == 20
    assert len(far(PUMP, 0.001)) == 1
    assert far(PUMP, 0.0) == []


def test_neither_calibration_nor_test_clips_nor_machines_with_noise_are_asked() -> None:
    held = [replace(clip, calibration=int(clip.path.stem) % 2 == 0) for clip in PUMP]
    assert {int(clip.path.stem) % 2 for clip in far(held, 1.0)} == {1}
    other = [replace(PUMP[0], split=Split.TEST), replace(PUMP[1], condition=Condition.ANOMALY)]
    assert far(other, 1.0) == []
    noise = Clip(Path("n.wav"), "pump", split=Split.SUPPLEMENTAL, kind=Kind.NOISE)
    fan = replace(PUMP[0], machine="fan")
    assert [clip.machine for clip in far([*PUMP, noise, fan], 1.0)] == ["fan"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Machines whose near channel is a tone, and whose far channel is noise."""
    rng, time = np.random.default_rng(0), np.arange(RATE) / RATE
    for machine, hertz in (("fan", 300), ("ToyCar", 900)):
        for split, count in (("train", 10), ("test", 2)):
            folder = tmp_path / "dev_data/raw" / machine / split
            folder.mkdir(parents=True)
            for number in range(count):
                noise = 0.1 * rng.normal(size=RATE)
                near = 0.2 * np.sin(2 * np.pi * hertz * time + number) + 0.5 * noise
                name = f"section_00_source_{split}_normal_{number:04}_noAttribute.wav"
                soundfile.write(folder / name, np.stack([near, noise], axis=1), RATE)
    return tmp_path


@pytest.mark.parametrize("cache", [{"cache_gb": 0.0}, {"cache_gb": 1.0}, {"disk_cache": "cache"}])
def test_it_is_a_class_that_hears_the_far_channel(
    cache: dict[str, object], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    data = ToyADMOS2(root, seconds=1.0, channels="near_minus_far", far_noise=0.3, **cache)  # type: ignore[arg-type]
    data.setup("fit")
    assert data.classes.names == ("ToyCar/noise", "ToyCar/section_00/source", "fan/noise", "fan/section_00/source")
    assert data.classes.counts == (3, 10, 3, 10)
    assert len(data.reference_clips) == 20
    for _ in ("read", "cached"):
        (batch,) = data.statistics_dataloader()
        for row, clip in enumerate(data.train_clips):
            channel = "far" if clip.kind == Kind.NOISE else "near_minus_far"
            expected = read(clip.path, RATE, channel_of(channel))
            assert np.allclose(batch.waveform[row], expected, atol=1e-4)
    trained = next(iter(data.train_dataloader()))
    assert set(trained.label.tolist()) == {0, 1, 2, 3}


def test_it_can_be_mixed_in(root: Path) -> None:
    options = {"seconds": 1.0, "channels": "near", "cache_gb": 0.0, "noise_mix": NoiseMix((0.0, 0.0), 1.0)}
    data = ToyADMOS2(root, far_noise=0.5, noise_class="none", **options)  # type: ignore[arg-type]
    data.setup("fit")
    mixed = next(iter(data.train_dataloader()))
    clean = data._dataset(data.train_clips)[int(mixed.index[0])]
    assert not torch.allclose(mixed.waveform[0], clean.waveform, atol=1e-2)
    data = ToyADMOS2(root, **options)  # type: ignore[arg-type]
    data.setup("fit")
    with pytest.raises(UserError, match=r"no noise clips of ToyCar, fan.*data\.far_noise"):
        data.train_dataloader()


def test_recordings_of_one_channel_have_none(root: Path) -> None:
    path = next((root / "dev_data/raw/fan/train").iterdir())
    soundfile.write(path, soundfile.read(path)[0][:, 0], RATE)
    with pytest.raises(UserError, match=rf"{path.name}.*no channel 1, the file has 1"):
        ToyADMOS2(root, far_noise=1.0).setup("fit")
    with pytest.raises(UserError, match=rf"{path.name}.*near_minus_far takes a near and a far channel"):
        ToyADMOS2(root, channels="near_minus_far").setup("fit")
    with pytest.raises(UserError, match=r"data\.far_noise must be from 0 to 1"):
        ToyADMOS2(root, far_noise=2.0)


def test_a_pair_that_cannot_be_used_is_skipped_where_that_is_asked_for(root: Path) -> None:
    path = next((root / "dev_data/raw/fan/train").iterdir())
    soundfile.write(path, soundfile.read(path)[0][:, [0, 0]], RATE)
    data = ToyADMOS2(root, channels="near_minus_far", on_bad_file="skip")
    data.setup("fit")
    assert path not in {clip.path for clip in data.train_clips}
    assert len(data.train_clips) == 19
