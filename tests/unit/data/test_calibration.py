"""Clips for calibration: which they are, that none is trained on, and that no recording is on both sides."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from asd.data import Recordings, ToyADMOS2
from asd.data.calibration import choose, stretches
from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.errors import UserError


def challenge(source: int = 60, target: int = 10, attributes: int = 3) -> list[Clip]:
    """Clips of one machine, each a recording of its own."""
    return [
        Clip(Path(f"{domain}_{row:03}.wav"), "fan", domain=domain, condition=Condition.NORMAL,
             attributes=f"load_{row % attributes}")
        for domain, count in ((Domain.SOURCE, source), (Domain.TARGET, target)) for row in range(count)
    ]  # fmt: skip


def cut(recordings: int, clips: int, seconds: float = 10.0, hop: float = 10.0) -> list[Clip]:
    """Clips of long recordings."""
    return [
        Clip(Path(f"{one}.wav"), "fan", condition=Condition.NORMAL, group=f"fan/{one}.wav", start=row * hop,
             seconds=seconds)
        for one in range(recordings) for row in range(clips)
    ]  # fmt: skip


def test_a_fifth_of_the_source_and_three_of_ten_target_clips_are_held_out_over_all_attributes() -> None:
    held = [clip for clip in choose(challenge(), 0.2) if clip.calibration]
    assert Counter(clip.domain for clip in held) == {Domain.SOURCE: 12, Domain.TARGET: 3}
    assert Counter(clip.attributes for clip in held if clip.domain == Domain.SOURCE) == {
        "load_0": 4, "load_1": 4, "load_2": 4
    }  # fmt: skip


def test_the_choice_depends_on_the_clips_alone() -> None:
    clips = challenge()
    mixed = random.Random(3).sample(clips, len(clips))
    assert {clip for clip in choose(clips, 0.2) if clip.calibration} == {
        clip for clip in choose(mixed, 0.2) if clip.calibration
    }
    assert choose(clips, 0.0) == clips
    assert [clip.path for clip in choose(clips, 0.2)] == [clip.path for clip in clips], "the order is kept"


@pytest.mark.parametrize(("source", "target", "attributes"), [(1, 0, 1), (2, 1, 2), (7, 3, 7), (4, 4, 2), (30, 1, 30)])
def test_no_class_is_left_without_a_clip_to_train_on(source: int, target: int, attributes: int) -> None:
    clips = choose(challenge(source, target, attributes), 0.5)
    classes = {(clip.domain, clip.attributes) for clip in clips}
    assert {(clip.domain, clip.attributes) for clip in clips if not clip.calibration} == classes


def test_recordings_are_held_out_whole() -> None:
    clips = choose(cut(8, 6), 0.2)
    held = {clip.group for clip in clips if clip.calibration}
    assert len(held) == 2
    assert all(clip.calibration == (clip.group in held) for clip in clips)
    assert len(clips) == 48


@pytest.mark.parametrize(("recordings", "clips"), [(1, 120), (1, 18), (4, 12), (2, 3)])
def test_of_few_recordings_stretches_are_held_out(recordings: int, clips: int) -> None:
    found = choose(cut(recordings, clips), 0.2)
    held = [clip for clip in found if clip.calibration]
    assert len(held) >= 0.2 * len(found)
    assert len(held) <= len(found) / 2
    stretch = {clip.group for clip in held}
    assert all(clip.calibration == (clip.group in stretch) for clip in found)
    for name in stretch:
        starts = [clip.start for clip in found if clip.group == name]
        assert starts == sorted(starts)
        assert starts[-1] - starts[0] == 10 * (len(starts) - 1), "not contiguous"


def test_clips_that_share_sound_are_never_on_both_sides() -> None:
    found = choose(cut(1, 60, hop=2.5), 0.2)
    held = [clip for clip in found if clip.calibration]
    assert held
    for one in held:
        for other in found:
            shared = abs(one.start - other.start) < 10
            assert not shared or other.group == one.group


def test_supplemental_and_test_clips_and_faults_are_left_alone() -> None:
    others = [
        Clip(Path("a.wav"), "fan", kind=Kind.NOISE, split=Split.SUPPLEMENTAL),
        Clip(Path("b.wav"), "fan", split=Split.TEST, condition=Condition.NORMAL),
        Clip(Path("c.wav"), "fan", condition=Condition.ANOMALY),
    ]
    assert [clip for clip in choose([*challenge(), *others], 0.5) if clip.path.stem in "abc"] == others


def test_stretches_are_numbered_and_many_recordings_stay_whole() -> None:
    assert stretches([(one, 0.0) for one in range(6)], 1.0) == [0, 1, 2, 3, 4, 5]
    assert stretches([(0, float(row)) for row in range(10)], 1.0) == list(range(10))
    # Each begins within the one before: of every second stretch nothing is left but what follows.
    assert stretches([(0, row / 2) for row in range(20)], 1.0).count(-1) == 9
    assert stretches([], 1.0) == []


def test_a_data_module_trains_on_none_of_them_and_keeps_them_as_references(synthetic: Path) -> None:
    data = ToyADMOS2(synthetic, seconds=1.0, calibration=0.3)
    data.setup("fit")
    held = [clip for clip in data.reference_clips if clip.calibration]
    plain = ToyADMOS2(synthetic, seconds=1.0)
    plain.setup("fit")
    assert len(held) == 2 * (4 + 1)
    assert not [clip for clip in data.train_clips if clip.calibration]
    assert len(data.train_clips) == len(plain.train_clips) - len(held)
    assert len(data.reference_clips) == len(plain.reference_clips)
    assert data.classes == plain.classes
    seen = sorted(index for batch in data.train_dataloader() for index in batch.index.tolist())
    assert seen == list(range(len(data.train_clips)))


def test_a_broken_clip_among_them_is_found(synthetic: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(synthetic, tmp_path / "data")
    data = ToyADMOS2(tmp_path / "data", seconds=1.0, calibration=0.3, machines=["fan"])
    data.setup("test")
    broken = next(clip for clip in data.reference_clips if clip.calibration)
    broken.path.write_bytes(b"RIFF")
    stops = ToyADMOS2(tmp_path / "data", seconds=1.0, calibration=0.3, machines=["fan"])
    with pytest.raises(UserError, match=broken.path.name):
        stops.setup("fit")
    skips = ToyADMOS2(tmp_path / "data", seconds=1.0, calibration=0.3, machines=["fan"], on_bad_file="skip")
    skips.setup("fit")
    assert len([clip for clip in skips.reference_clips if clip.calibration]) == 4
    assert broken.path not in {clip.path for clip in skips.reference_clips}


@pytest.mark.parametrize("part", [-0.1, 0.6])
def test_a_part_that_is_none_is_refused(part: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.calibration must be from 0 to 0\.5"):
        Recordings(tmp_path, calibration=part)
