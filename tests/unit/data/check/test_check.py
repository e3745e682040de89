from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asd.data.check.check import Report, check
from asd.errors import UserError

RATE = 16000
Samples = NDArray[np.float64]


def tone(seconds: float = 0.5, level: float = 0.5, channels: int = 1) -> Samples:
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[:, None], channels, axis=1)


def write(path: Path, samples: Samples, rate: int = RATE, subtype: str = "PCM_16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


@pytest.fixture
def fan(tmp_path: Path) -> Path:
    """A machine without faults."""
    folder = tmp_path / "dev_data/raw/fan"
    for i in range(3):
        write(folder / f"train/section_00_source_train_normal_{i:04d}_n_{'AaB'[i]}.wav", tone(0.5 + 0.1 * i))
    write(folder / "train/section_00_target_train_normal_0000_noAttribute.wav", tone(level=0.05))
    write(folder / "test/section_00_0000.wav", tone(0.55))
    write(folder / "supplemental/section_00_noise_source_0000_noAttribute.wav", tone(0.65))
    return folder


def checked(fan: Path) -> Report:
    return check(fan.parents[2])


def test_counts_and_measures(fan: Path) -> None:
    report = checked(fan)
    assert report.faults == ()
    assert report.remarks == (
        "hidden attributes, one class per domain: fan (1 of 4 clips)",
        "fan: a single training clip of n_b; too few to learn a class from",
    )
    assert len(report.files) == 6
    found = {(g.split, g.part): g for g in report.groups}
    assert list(found) == [
        ("train", "source"), ("train", "target"), ("test", "-"), ("supplemental", "noise"),
    ]  # fmt: skip
    source, target, test = (found["train", "source"], found["train", "target"], found["test", "-"])
    assert (source.clips, source.normal, source.anomaly, source.attributes, source.hidden) == (3, 3, 0, 2, 0)
    assert (source.sample_rates, source.channels) == ((RATE,), (1,))
    assert source.seconds == pytest.approx((0.5, 0.7))
    assert source.level == pytest.approx((-9.03, -9.03), abs=0.01), "RMS of a sine is 3 dB below its peak"
    assert (target.hidden, target.attributes) == (1, 0)
    assert target.level == pytest.approx((-29.03, -29.03), abs=0.05)
    assert (test.normal, test.anomaly, test.clips) == (0, 0, 1)


BAD = "section_00_source_train_normal_0007_n_A.wav"


def corrupt(path: Path) -> None:
    path.write_bytes(b"RIFF" + bytes(40))


def text(path: Path) -> None:
    path.write_text("no sound\n")


def truncated(path: Path) -> None:
    write(path, tone())
    path.write_bytes(path.read_bytes()[:2000])


def zero_length(path: Path) -> None:
    write(path, np.zeros((0, 1)))


def not_a_number(path: Path) -> None:
    samples = tone()
    samples[100] = np.nan
    write(path, samples, subtype="FLOAT")


def infinite(path: Path) -> None:
    samples = tone()
    samples[100] = -np.inf
    write(path, samples, subtype="FLOAT")


def silent(path: Path) -> None:
    write(path, np.zeros((800, 2)))


def unscaled(path: Path) -> None:
    write(path, tone() * 30000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        (corrupt, "cannot be read as audio"),
        (text, "cannot be read as audio"),
        (truncated, "cut short"),
        (zero_length, "holds no samples"),
        (not_a_number, "not finite"),
        (infinite, "not finite"),
        (silent, "silent, every sample is zero"),
        (unscaled, "samples reach 1.5e+04"),
    ],
)
def test_files_that_must_be_mended(damage: object, shown: str, fan: Path) -> None:
    assert callable(damage)
    path = fan / "train" / BAD
    damage(path)
    (fault,) = checked(fan).faults
    assert fault.startswith(f"{path}: ")
    assert shown in fault


def test_what_training_refuses_the_check_reports(fan: Path) -> None:
    from asd.data.audio.decoding import AudioError, decode

    for damage in (corrupt, text, truncated, zero_length, not_a_number, infinite, silent, unscaled):
        path = fan / "train" / BAD
        damage(path)
        with pytest.raises(AudioError) as refused:
            decode(path, RATE)
        assert checked(fan).faults == (str(refused.value),)


@pytest.mark.parametrize(
    ("samples", "subtype", "clipped"),
    [
        (np.clip(tone() * 4, -1, 1), "PCM_16", True),
        (np.clip(tone() * 4, -1, 1), "PCM_24", True),
        (tone() * 3, "FLOAT", True),
        (np.clip(tone() * 4, -0.9, 0.9), "PCM_16", False),
        (tone(level=0.99997), "PCM_16", False),
    ],
)
def test_clipping_is_a_run_at_full_scale(samples: Samples, subtype: str, clipped: bool, fan: Path) -> None:
    path = fan / "train" / BAD
    write(path, samples, subtype=subtype)
    report = checked(fan)
    assert report.faults == ()
    assert [line.split(", ")[0] for line in report.remarks[2:]] == [f"{path}: clipped"] * clipped


def test_a_dead_channel_and_mixed_formats_are_remarked(fan: Path) -> None:
    samples = tone(channels=2)
    samples[:, 1] = 0
    path = fan / "train" / BAD
    write(path, samples, rate=32000)
    report = checked(fan)
    assert report.faults == ()
    assert any("files differ: 16000 Hz x 1, 32000 Hz x 2 channels" in line for line in report.remarks)
    assert f"{path}: channel 1 of 2 is silent" in report.remarks


def test_faults_of_names_folders_and_attribute_files_are_all_listed(fan: Path) -> None:
    root = fan.parents[2]
    write(fan / "train/copy.wav", tone())
    (fan / "attributes_00.csv").write_text("file_name\nsection_00_source_train_normal_0099.wav\n")
    write(root / "dev_data/raw/pump/test/section_00_0000.wav", tone(0.75))
    write(root / "dev_data/raw/pump/supplemental/section_00_hum_0000.wav", tone(0.8))
    write(root / "dev_data/raw/valve/train/section_00_source_train_anomaly_0000.wav", tone())
    write(root / "dev_data/raw/valve/train/section_00_source_train_normal_0000.wav", tone())
    report = check(root)
    for shown in ("cannot parse train/copy.wav", "unknown file section_00_source_train_normal_0099", "clips for pump"):
        assert any(shown in line for line in report.faults), shown
    assert len(report.faults) == 3
    hidden = "hidden attributes, one class per domain: fan (1 of 4 clips), valve"
    for shown in ("section_00_hum_0000", "1 anomalous clips in train", hidden):
        assert any(shown in line for line in report.remarks), shown
    assert any(group.part == "unknown" for group in report.groups)


def test_every_subset_is_checked_unless_one_is_chosen(fan: Path) -> None:
    root = fan.parents[2]
    write(root / "eval_data/raw/Auto/train/section_00_source_train_normal_0000.wav", tone())
    assert {group.subset for group in check(root).groups} == {"dev_data", "eval_data"}
    assert {group.machine for group in check(root, ["eval_data"]).groups} == {"Auto"}
    assert {group.machine for group in check(root, machines=["fan"]).groups} == {"fan"}


def test_progress_is_told(fan: Path) -> None:
    told: list[tuple[int, int]] = []
    check(fan.parents[2], on_file=lambda done, total: told.append((done, total)))
    assert told == [(i, 6) for i in range(1, 7)]


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data folder"):
        check(tmp_path / "absent")
