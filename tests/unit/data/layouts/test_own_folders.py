"""One's own recordings as people have them: what is read, and what is left out is said."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.layouts.dcase import scan
from asd.data.layouts.recordings import Cutting, scan_recordings
from asd.data.layouts.walk import SUFFIXES, recordings_below, recordings_in, walk
from asd.errors import Notice, UserError
from asd.inference.stream import new_files

RATE = 8000
WHOLE = Cutting(seconds=10.0, hop=10.0)


def write(path: Path, seed: int = 0, form: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(RATE), RATE, format=form)
    return path


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path / "data/pump/normal" / f"rec{number:02d}.wav", number)
    for number in range(2):
        write(tmp_path / "data/pump/test/anomaly" / f"bad{number:02d}.wav", 50 + number)
    return tmp_path / "data/pump"


def listed(root: Path, machines: list[str] | None = None) -> tuple[Counter[str], list[str]]:
    """How many recordings of each machine and condition are read, and the notices."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        clips = scan_recordings(root, machines, WHOLE)
    assert all(issubclass(one.category, Notice) for one in told)
    return Counter(f"{clip.machine} {clip.condition}" for clip in clips), [str(one.message) for one in told]


ALL = Counter({"pump normal": 6, "pump anomaly": 2})


# -- formats


@pytest.mark.parametrize("suffix", [".w64", ".aiff", ".caf", ".au", ".ogg", ".flac", ".rf64", ".mp3", ".WAV"])
def test_every_reader_of_folders_takes_every_format(suffix: str, tmp_path: Path) -> None:
    form = {".rf64": "RF64", ".WAV": "WAV"}.get(suffix)
    folder = tmp_path / "pump/normal"
    path = write(folder / f"a{suffix}", form=form)
    assert listed(tmp_path)[0] == {"pump normal": 1}
    assert list(recordings_in([folder])) == list(new_files(folder, follow=False)) == recordings_below(folder) == [path]


def test_formats_of_ffmpeg_are_recordings_too() -> None:
    assert {".opus", ".webm", ".mkv", ".m4a", ".wma", ".amr", ".3gp"} < set(SUFFIXES)


def test_what_is_no_recording_is_said_everywhere(pump: Path) -> None:
    for name in ("a.xyz", "b.xyz", "README"):
        (pump / "normal" / name).write_text("text")
    (pump / "normal/._rec00.wav").write_text("litter")
    (pump / "normal/Thumbs.db").write_text("litter")
    found, told = listed(pump.parent)
    assert found == ALL
    assert any(line.endswith("left alone: 3 files (.xyz, without suffix)") for line in told)
    with pytest.warns(Notice, match=r"left alone: 3 files \(\.xyz, without suffix\)"):
        assert len(list(recordings_in([pump / "normal"]))) == 6
    with pytest.warns(Notice, match="left alone: 3 files"):
        assert len(list(new_files(pump / "normal", follow=False))) == 6


def test_a_suffix_that_lies_is_said(pump: Path) -> None:
    (pump / "normal/rec00.wav").rename(pump / "normal/rec00.w64")
    found, told = listed(pump.parent)
    assert found == ALL
    assert any("1 file (.w64) hold another format" in line for line in told)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(pump: Path) -> None:
    os.mkfifo(pump / "normal/pipe.wav")
    found, told = listed(pump.parent)
    assert found == ALL
    assert any("left alone: 1 file (.wav)" in line for line in told)


# -- links


def test_links_are_followed_once_and_loops_end(pump: Path, tmp_path: Path) -> None:
    (tmp_path / "links/pump/normal").mkdir(parents=True)
    monday = tmp_path / "links/pump/normal/monday"
    monday.symlink_to(pump / "normal")
    (tmp_path / "links/pump/normal/again").symlink_to(pump / "normal")
    (tmp_path / "links/pump/normal/loop").symlink_to("..")
    (tmp_path / "links/pump/test").symlink_to(pump / "test")
    found, _ = listed(tmp_path / "links")
    assert found == ALL
    assert len(list(recordings_in([tmp_path / "links/pump/normal"]))) == 6
    assert len(list(new_files(tmp_path / "links/pump/normal", follow=False))) == 6


@pytest.mark.parametrize("target", ["..", "../test/anomaly", "../test", "../.."])
def test_a_link_never_makes_faults_normal(target: str, pump: Path) -> None:
    (pump / "normal/link").symlink_to(target)
    assert listed(pump.parent)[0] == ALL


def test_a_machine_that_is_linked_twice_is_one(pump: Path) -> None:
    (pump.parent / "alias").symlink_to(pump)
    assert listed(pump.parent)[0] == ALL
    assert listed(pump.parent, ["alias"])[0] == Counter({"alias normal": 6, "alias anomaly": 2})


@pytest.mark.parametrize("place", ["normal/gone.wav", "normal/monday", "attached"])
def test_a_link_to_nothing_is_a_fault(place: str, pump: Path) -> None:
    (pump / place).symlink_to("/nowhere/at/all")
    with pytest.raises(UserError, match=f"{place}: no such file"):
        scan_recordings(pump.parent)


def test_deep_folders_are_walked(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(300):
        folder = folder / "d"
    write(folder / "a.wav")
    assert len(list(walk(tmp_path))) == 1


# -- words


@pytest.mark.parametrize(
    ("place", "word", "said"),
    [
        ("normal", "Normal", ""),
        ("normal", "train/normal", "is read as normal"),
        ("test/anomaly", "test/Anomaly", ""),
        ("test/anomaly", "test/abnormal", "test/abnormal is read as test/anomaly"),
        ("test/anomaly", "TEST/Anomalous", "is read as test/anomaly"),
        ("test/anomaly", "anomaly", "pump/anomaly is read as test/anomaly"),
        ("test/anomaly", "Abnormal", "pump/Abnormal is read as test/anomaly"),
    ],
)
def test_plain_words_are_understood(place: str, word: str, said: str, pump: Path) -> None:
    (pump / word).parent.mkdir(exist_ok=True)
    (pump / place).rename(pump / word)
    found, told = listed(pump.parent)
    assert found == ALL
    assert any(said in line for line in told)


@pytest.mark.parametrize(
    ("word", "guess"),
    [("tests", "test/normal"), ("test/faulty", "test/anomaly"), ("nomal", "normal"), ("defect", "test/anomaly")],
)
def test_other_words_are_asked_about(word: str, guess: str, pump: Path) -> None:
    write(pump / word / "x.wav")
    found, told = listed(pump.parent)
    assert found == ALL
    assert any(f"left alone: folder {word} (did you mean {guess}?)" in line for line in told)


def test_recordings_beside_the_folders_are_said(pump: Path) -> None:
    write(pump / "lost.wav")
    write(pump / "test/lost.wav")
    write(pump.parent / "other/lost.wav")
    found, told = listed(pump.parent)
    assert found == ALL
    assert any(line == f"{pump}: left alone: 2 files (.wav)" for line in told)
    assert any(line.startswith(f"{pump.parent}: left alone: folder other; a machine has") for line in told)


# -- roots


def test_a_machines_own_folder_is_understood(pump: Path) -> None:
    write(pump / "test/normal/ok.wav")
    assert listed(pump)[0] == Counter({"pump normal": 7, "pump anomaly": 2})


def test_folders_of_recordings_without_normal_are_normal_and_that_is_said(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "plant/fan" / f"{number}.wav", number)
        write(tmp_path / "plant/pump" / f"{number}.wav", 9 + number)
    found, told = listed(tmp_path / "plant")
    assert found == Counter({"fan normal": 3, "pump normal": 3})
    assert sum("are taken for normal" in line for line in told) == 2
    assert listed(tmp_path / "plant/fan")[0] == Counter({"fan normal": 3})


def test_states_are_never_taken_for_machines(tmp_path: Path) -> None:
    for state in ("ok", "defect"):
        write(tmp_path / "pump" / state / "a.wav")
    with pytest.raises(UserError, match=f"did you mean normal. mv {tmp_path}/pump/ok {tmp_path}/pump/normal"):
        scan_recordings(tmp_path / "pump")
    (tmp_path / "pump/ok").rename(tmp_path / "pump/normal")
    assert listed(tmp_path / "pump")[0] == Counter({"pump normal": 1})


def test_the_right_folder_is_named(pump: Path) -> None:
    with pytest.raises(UserError, match=f"give {pump} in its place"):
        scan_recordings(pump / "normal")
    with pytest.raises(UserError, match=f"give {pump.parent} in its place"):
        scan_recordings(pump.parent.parent)


@pytest.mark.parametrize("inner", ["", "pump"])
def test_the_challenges_reader_names_the_reader_of_such_folders(inner: str, pump: Path) -> None:
    with pytest.raises(UserError, match=f"--data Recordings --data.root {pump.parent / inner}"):
        scan(pump.parent / inner)


def test_the_challenges_reader_says_what_it_leaves_alone(tmp_path: Path) -> None:
    fan = tmp_path / "dev_data/raw/fan"
    write(fan / "train/section_00_source_train_normal_0000_noAttribute.wav")
    write(fan / "train/section_00_source_train_normal_0001_noAttribute.mp3")
    write(fan / "train/old/a.wav")
    write(fan / "Tests/a.wav")
    with pytest.warns(Notice, match=r"left alone: 1 file \(\.mp3\), folders Tests \(did you mean test\?\), train/old"):
        assert len(scan(tmp_path)) == 1


def test_a_machines_name_leaves_room_for_those_of_its_files(tmp_path: Path) -> None:
    write(tmp_path / ("p" * 230) / "normal/a.wav")
    with pytest.raises(UserError, match=r"a machine's name of 230 bytes.*rename it"):
        scan_recordings(tmp_path)


# -- composed and decomposed


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    name = "pümpe"
    folder = tmp_path / unicodedata.normalize("NFD", name)
    for number in range(2):
        write(folder / "normal" / unicodedata.normalize("NFD", f"geräusch{number}.wav"), number)
    (folder / "attributes.csv").write_text(unicodedata.normalize("NFC", "file_name,zustand\ngeräusch0.wav,öl\n"))
    for asked in (None, [name], [unicodedata.normalize("NFD", name)]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clips = scan_recordings(tmp_path, asked)
        assert {clip.machine for clip in clips} == {name}
        assert sorted(clip.attributes for clip in clips) == ["", "zustand_öl"]
    write(tmp_path / name / "normal/a.wav")
    with pytest.raises(UserError, match="two folders that are written pümpe"):
        scan_recordings(tmp_path)
