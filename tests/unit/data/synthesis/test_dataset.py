"""Synthetic machines: the layout, determinism, domains, and faults that are audible in proportion to their gravity."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import roc_auc_score

from asd.data.audio.near_minus_far import near_minus_far
from asd.data.clip import Condition, Domain, Kind, Split
from asd.data.layouts.dcase import scan
from asd.data.synthesis.dataset import MACHINES, synthesize
from asd.errors import UserError

FEW = {"seconds": 0.5, "train_source": 6, "train_target": 2, "test": 2, "supplemental": 2}


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def every_machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("all") / "data", **FEW)


def test_every_machine_is_laid_out_as_the_challenge_does(every_machine: Path) -> None:
    clips = scan(every_machine)
    assert {clip.machine for clip in clips} == set(MACHINES)
    for machine in MACHINES:
        own = [clip for clip in clips if clip.machine == machine]
        count = {split: sum(clip.split == split for clip in own) for split in Split}
        assert count == {Split.TRAIN: 8, Split.TEST: 8, Split.SUPPLEMENTAL: 2}
        assert {clip.kind for clip in own if clip.split == Split.SUPPLEMENTAL} == {Kind.CLEAN, Kind.NOISE}
        train = [clip for clip in own if clip.split == Split.TRAIN]
        assert all(clip.condition == Condition.NORMAL for clip in train)


def test_domains_have_no_attribute_string_in_common_and_some_are_hidden(every_machine: Path) -> None:
    clips = [clip for clip in scan(every_machine) if clip.split != Split.SUPPLEMENTAL]
    hidden = {clip.machine for clip in clips if not clip.attributes}
    assert hidden == {"bearing", "slider"}
    for machine in set(MACHINES) - hidden:
        by_domain = [{c.attributes for c in clips if c.machine == machine and c.domain == d} for d in Domain]
        assert not by_domain[0] & by_domain[1]


def test_files_are_16_khz_mono_16_bit_at_random_levels(every_machine: Path) -> None:
    levels = []
    for path in sorted(every_machine.rglob("*.wav")):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 8000)
        samples = soundfile.read(path)[0]
        assert np.abs(samples).max() < 1
        levels.append(10 * np.log10(np.mean(samples**2)))
    assert min(levels) > -31.5
    assert max(levels) < -24.5
    assert np.std(levels) > 1


def test_the_seed_alone_decides_and_clips_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    first = files(synthesize(tmp_path / "a", ["fan"], **FEW))
    assert files(synthesize(tmp_path / "b", ["fan"], **FEW)) == first
    other = files(synthesize(tmp_path / "c", ["fan"], **{**FEW, "seed": 2}))
    assert not {name for name in first if name.endswith(".wav") and other.get(name) == first[name]}
    more = files(synthesize(tmp_path / "d", ["valve", "fan"], **{**FEW, "train_source": 9}))
    assert {name: more.get(name) for name in first if "/train/" in name or "/test/" in name} == {
        name: content for name, content in first.items() if "/train/" in name or "/test/" in name
    }


@pytest.fixture(scope="module")
def two_microphones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("2026") / "data"
    return synthesize(out, seconds=1.0, train_source=4, train_target=1, test=1, year=2026)


def test_2026_has_a_near_and_a_far_channel_three_lengths_and_no_supplemental_clips(two_microphones: Path) -> None:
    clips, lengths = scan(two_microphones), {}
    assert {clip.machine for clip in clips} == set(MACHINES)
    assert {clip.split for clip in clips} == {Split.TRAIN, Split.TEST}
    for clip in clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 2, "PCM_16")
        assert lengths.setdefault(clip.machine, info.duration) == info.duration
    assert set(lengths.values()) == {1.0, 1.1, 1.2}, "as 10, 11 and 12 s"
    assert {clip.machine for clip in clips if not clip.attributes} == {"ToyCar", "bearing", "slider", "valve"}


def test_the_far_channel_tells_the_noise_of_the_near_one(tmp_path: Path) -> None:
    few = {"seconds": 4.0, "train_source": 1, "train_target": 0, "test": 0, "supplemental": 2}
    root = synthesize(tmp_path, ["fan"], year=2026, **few)
    clean, noise = (soundfile.read(next(root.rglob(f"*_{word}_source_*.wav")))[0] for word in ("machine", "noise"))
    levels = 20 * np.log10(clean.std(0))
    assert levels[0] - levels[1] > 10, "the machine is near"
    left = near_minus_far(*torch.from_numpy(np.float32(noise.T)), 16000).numpy()
    assert 20 * np.log10(left.std() / noise[:, 0].std()) < -10
    mixed = soundfile.read(next(root.rglob("train/*.wav")))[0]
    assert not np.allclose(mixed[:, 0], mixed[:, 1], atol=1e-2)


CHEAP = {"seconds": 0.4, "train_source": 14, "train_target": 0, "test": 8, "supplemental": 0, "seed": 1}


def features(path: Path) -> np.ndarray:
    samples = soundfile.read(path, dtype="float32")[0]
    power = librosa.feature.melspectrogram(y=samples / samples.std(), sr=16000, n_fft=1024, hop_length=512, n_mels=64)
    level = 10 * np.log10(power + 1e-6)
    return np.concatenate([level.mean(1), level.std(1)])


def source_auc(healthy: Path, root: Path) -> float:
    """Mean over machines of the area under the curve of a nearest neighbour on log-mel statistics."""
    areas = []
    for machine in MACHINES:
        train = np.stack([features(p) for p in sorted((healthy / "dev_data/raw" / machine / "train").glob("*source*"))])
        tests = sorted((root / "dev_data/raw" / machine / "test").glob("*source*"))
        test = np.stack([features(p) for p in tests])
        mean, deviation = train.mean(0), train.std(0) + 1e-3
        gaps = (((test - mean) / deviation)[:, None] - ((train - mean) / deviation)[None]) ** 2
        areas.append(roc_auc_score(["anomaly" in p.name for p in tests], gaps.mean(2).min(1)))
    return float(np.mean(areas))


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[float | None, float]:
    """How well faults of each severity are heard; ``None``: graded ones.

    The clips of training do not depend on it, so they are made once.
    """
    folder = tmp_path_factory.mktemp("severity")
    healthy = synthesize(folder / "0.1", severity=0.1, **CHEAP)
    more = {s: synthesize(folder / str(s), severity=s, **{**CHEAP, "train_source": 1}) for s in (None, 1.0)}
    return {severity: source_auc(healthy, root) for severity, root in {0.1: healthy, **more}.items()}


def test_graver_faults_are_easier_to_hear(heard: dict[float | None, float]) -> None:
    assert heard[0.1] < heard[None] < heard[1.0]
    assert heard[0.1] < 0.65
    assert heard[1.0] > 0.8


def test_graded_faults_are_neither_lost_nor_obvious(heard: dict[float | None, float]) -> None:
    assert 0.6 < heard[None] < 0.9


@pytest.mark.parametrize(
    ("machines", "options", "shown"),
    [
        (["fna"], {}, "choose of ToyCar"),
        ([], {}, "choose of ToyCar"),
        (["fan"], {"test": -1}, "test is -1"),
        (["fan"], {"train_source": 0}, "train_source is 0"),
        (["fan"], {"seconds": 0.0}, "seconds is 0"),
        (["fan"], {"severity": 1.5}, "severity is 1.5"),
        (["fan"], {"year": 2024}, "year is 2024; .* 2025 and 2026"),
    ],
)
def test_wrong_arguments_are_named(machines: list[str], options: dict[str, float], shown: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=shown):
        synthesize(tmp_path / "out", machines, **{**FEW, **options})
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    kept = tmp_path / "dev_data/raw/fan/mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(UserError, match="holds something already"):
        synthesize(tmp_path, ["fan"], **FEW)
    assert kept.read_text() == "mine"
