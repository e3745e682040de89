"""One's own recordings: any length, any format, no recording torn apart."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import audioread
import numpy as np
import pytest
import soundfile

from asd.data.audio import ffmpeg
from asd.data.audio.decoding import AudioError, decode, read_header
from asd.data.clip import Condition, Domain, Kind, Split
from asd.data.layouts.recordings import Cutting, scan_recordings
from asd.data.modules.mimii import MIMII
from asd.data.modules.recordings import Recordings
from asd.errors import Notice, UserError
from asd.evaluation.ground_truth import label_of

RATE = 8000
CUTTING = Cutting(seconds=1.0, hop=0.5)


def write(path: Path, seconds: float, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, sound, RATE)
    return path


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    """Six recordings of two seconds each."""
    for day in range(6):
        write(tmp_path / "pump/normal" / f"day {day}.wav", 2.0, day)
    return tmp_path / "pump"


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
@pytest.mark.parametrize(
    ("seconds", "starts"),
    [(0.4, [0.0]), (1.0, [0.0]), (2.0, [0.0, 0.5, 1.0]), (1.7, [0.0, 0.5, 0.7]), (1.004, [0.0])],
)
def test_recordings_are_cut_every_hop_and_the_last_clip_ends_with_them(
    seconds: float, starts: list[float], tmp_path: Path
) -> None:
    path = write(tmp_path / "pump/normal/a.wav", seconds)
    clips = scan_recordings(tmp_path, cutting=CUTTING)
    assert [clip.start for clip in clips] == pytest.approx(starts)
    whole = soundfile.read(path, dtype="float32")[0]
    for clip in clips:
        first = round(clip.start * RATE)
        last = len(whole) if clip.seconds is None else first + RATE
        assert np.array_equal(decode(clip.sound, RATE) / np.float32(32768), whole[first:last])
        assert read_header(clip.sound).frames == last - first
    assert len({clip.title for clip in clips}) == len(clips)


def test_whole_recordings_are_held_out(pump: Path) -> None:
    with pytest.warns(Notice, match="false alarms can be measured, detection cannot"):
        clips = scan_recordings(pump.parent, cutting=CUTTING)
    groups = {split: {clip.group for clip in clips if clip.split == split} for split in Split}
    assert len(groups[Split.TEST]) == 2, "a fifth of six recordings, and no less"
    assert len(groups[Split.TRAIN]) == 4
    assert not groups[Split.TEST] & groups[Split.TRAIN]
    assert all(label_of(clip.title).condition == "normal" for clip in clips)


def test_few_recordings_are_all_trained_on_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path / "pump/normal/a.wav", 3.0)
    with pytest.warns(Notice, match="neither false alarms nor detection can be measured"):
        clips = scan_recordings(tmp_path, cutting=CUTTING)
    assert {clip.split for clip in clips} == {Split.TRAIN}


def test_every_folder_is_what_it_says(pump: Path, recwarn: pytest.WarningsRecorder) -> None:
    write(pump / "test/normal/b.flac", 1.0)
    write(pump / "test/anomaly/bearing/normal day.wav", 1.0)
    write(pump / "clean/c.ogg", 1.0)
    write(pump / "noise/d.mp3", 1.0)
    found = {clip.path.name: clip for clip in scan_recordings(pump.parent, cutting=CUTTING)}
    assert not recwarn.list, "nothing is held out, and all can be measured"
    assert (found["b.flac"].split, found["b.flac"].condition) == (Split.TEST, Condition.NORMAL)
    anomaly = found["normal day.wav"]
    assert (anomaly.split, anomaly.condition) == (Split.TEST, Condition.ANOMALY)
    assert label_of(anomaly.title).condition == "anomaly"
    assert (found["c.ogg"].kind, found["d.mp3"].kind) == (Kind.CLEAN, Kind.NOISE)


def test_attributes_and_domains_come_from_a_table(pump: Path) -> None:
    rows = ["file_name,speed,load,domain", "day 0.wav,3,,source", "normal/day 1.wav,4,high,target"]
    (pump / "attributes.csv").write_text("\n".join(rows) + "\n")
    with pytest.warns(Notice):
        found = {clip.path.name: clip for clip in scan_recordings(pump.parent, cutting=CUTTING)}
    assert (found["day 0.wav"].attributes, found["day 0.wav"].domain) == ("speed_3", Domain.SOURCE)
    assert (found["day 1.wav"].attributes, found["day 1.wav"].domain) == ("speed_4_load_high", Domain.TARGET)
    assert label_of(found["day 1.wav"].title).domain == "target", "score files keep the domain"
    assert found["day 2.wav"].attributes == ""


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("name,speed\n", "first line must be file_name"),
        ("file_name,speed\nday 0.wav\n", "line 2: 1 fields"),
        ("file_name,domain\nday 0.wav,near\n", "domain is 'near'"),
        ("file_name,speed\nday 99.wav,3\n", "no file day 99.wav"),
    ],
)
def test_a_broken_table_is_named(table: str, shown: str, pump: Path) -> None:
    (pump / "attributes.csv").write_text(table)
    with pytest.raises(UserError, match=shown):
        scan_recordings(pump.parent, cutting=CUTTING)


def test_a_broken_recording_stops_or_is_left_out(pump: Path) -> None:
    (pump / "normal/day 3.wav").write_text("no sound\n")
    with pytest.raises(UserError, match=r"day 3\.wav: cannot be read as audio"):
        Recordings(pump.parent, seconds=1.0).clips()
    with pytest.warns(Notice, match=r"day 3\.wav"):
        clips = Recordings(pump.parent, seconds=1.0, on_bad_file="skip").clips()
    assert len({clip.path for clip in clips}) == 5


def test_a_wrong_folder_is_put_right(pump: Path) -> None:
    with pytest.raises(UserError, match=f"it is a folder of a machine: give {pump} in its place"):
        scan_recordings(pump / "normal")
    with pytest.raises(UserError, match="no folder"):
        scan_recordings(pump / "absent")
    with pytest.raises(UserError, match="Did you mean pump"):
        scan_recordings(pump.parent, ["punp"])
    for path in (pump / "normal").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no recording"):
        scan_recordings(pump.parent)


@pytest.mark.parametrize("options", [{"hop": 0}, {"holdout": 1.0}, {"holdout": -0.1}])
def test_options_out_of_range_are_named(options: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data.{next(iter(options))} must be"):
        Recordings(tmp_path, **options)


NAMES = ["ünï cödé 音.wav", "with space.wav", "new\nline.wav", "-dash.wav", 'quo"te, comma.wav']


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
def test_unusual_file_names_are_read_and_scored_by_name(tmp_path: Path) -> None:
    from asd.evaluation.clip_scores import ClipScore, read_scores, write_scores

    for number, name in enumerate(NAMES):
        write(tmp_path / "pump/test/normal" / name, 1.0, number)
        write(tmp_path / "pump/normal" / name, 1.0, number + 10)
    clips = scan_recordings(tmp_path, cutting=CUTTING)
    tested = [clip for clip in clips if clip.split == Split.TEST]
    assert sorted(clip.path.name for clip in tested) == sorted(NAMES)
    rows = [ClipScore(clip.title, "pump", "00", float(n), 0, None, "normal") for n, clip in enumerate(tested)]
    write_scores(tmp_path / "scores", rows)
    assert {row.name: row.score for row in read_scores(tmp_path / "scores")} == {row.name: row.score for row in rows}


def test_names_that_differ_by_case_stay_apart(pump: Path) -> None:
    write(pump / "normal/DAY 0.wav", 1.0, 77)
    with pytest.warns(Notice):
        clips = scan_recordings(pump.parent, cutting=CUTTING)
    assert len({clip.group for clip in clips}) == 7


FFMPEG = """
    import struct, sys
    if "-version" in sys.argv:
        print("ffmpeg version 6")
        sys.exit()
    sys.stderr.write("Input #0, mov, from 'x':\\n  Duration: 00:00:01.00, start: 0.0, bitrate: 64 kb/s\\n"
                     "    Stream #0:0: Audio: aac (LC), 8000 Hz, mono, fltp, 64 kb/s\\n")
    sys.stderr.flush()
    if b"broken" in open(sys.argv[sys.argv.index("-i") + 1], "rb").read():
        sys.stderr.write("Invalid data found when processing input\\n")
        sys.exit(1)
    sys.stdout.buffer.write(struct.pack("<8000h", *[n % 1000 for n in range(8000)]))
"""


def _forget() -> None:
    audioread.available_backends(flush_cache=True)
    ffmpeg._decoded.cache_clear()


@pytest.fixture
def decoders() -> Iterator[None]:
    """What is installed is looked for again after a test that changed it."""
    yield
    _forget()


@pytest.fixture
def program(decoders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of ffmpeg, which not every machine has."""
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{textwrap.dedent(FFMPEG)}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    _forget()


@pytest.mark.usefixtures("program")
def test_a_phones_recording_is_decoded_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "phone.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(64))
    assert read_header(path).sample_rate == 8000
    assert decode(path, 8000)[:5].tolist() == [0, 1, 2, 3, 4]
    path = path.with_name("other.m4a")
    path.write_bytes(b"\0\0\0\x20ftypM4A broken" + bytes(64))
    with pytest.raises(AudioError, match=r"other\.m4a: (cannot be read as audio|holds no samples)"):
        decode(path, 8000)


def test_without_ffmpeg_the_error_names_it(decoders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _forget()
    path = tmp_path / "phone.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(64))
    with pytest.raises(AudioError, match="ffmpeg, which decodes this format, is not installed"):
        decode(path, 8000)


# -- MIMII


@pytest.fixture
def mimii(tmp_path: Path) -> Path:
    """A model with ten normal and three abnormal clips, and one with more abnormal clips than normal ones."""
    for model, normal, abnormal in (("id_00", 10, 3), ("id_02", 4, 6)):
        for state, count in (("normal", normal), ("abnormal", abnormal)):
            for number in range(count):
                write(tmp_path / "fan" / model / state / f"{number:08d}.wav", 0.1, number)
    return tmp_path


def test_mimii_is_divided_by_names_alone(mimii: Path) -> None:
    clips = MIMII(mimii).clips()
    count = {
        section: tuple(
            sum(c.section == section and c.split == split and c.condition == state for c in clips)
            for split, state in (
                (Split.TRAIN, Condition.NORMAL), (Split.TEST, Condition.NORMAL), (Split.TEST, Condition.ANOMALY),
            )
        )
        for section in ("00", "02")
    }  # fmt: skip
    assert count == {"00": (7, 3, 3), "02": (2, 2, 6)}
    assert {label_of(c.title).condition for c in clips if c.split == Split.TEST} == {"normal", "anomaly"}
    assert MIMII(mimii).clips() == clips


def test_mimii_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected .*/id_00/normal"):
        MIMII(tmp_path).clips()
    (tmp_path / "fan/id_00/normal").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds no \.wav file"):
        MIMII(tmp_path).clips()


# -- the wrong reader


def test_other_layouts_are_recognised(pump: Path, mimii: Path, tmp_path: Path, here) -> None:
    from asd.data.layouts.dcase import scan

    with pytest.raises(UserError, match=r"holds MIMII in its authors' layout .* --data MIMII"):
        scan(_moved(mimii / "fan", tmp_path / "m/fan"))
    with pytest.raises(UserError, match=r"one's own recordings .* --data Recordings"):
        scan(_moved(pump, tmp_path / "own/pump"))
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars/shard-000000.tar").touch()
    with pytest.raises(UserError, match=r"holds tar archives.* --data Shards"):
        scan(tmp_path / "tars")
    shown = here("data", "classes", tmp_path / "own").stdout
    assert "pump/section_00" in shown


def _moved(folder: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True)
    folder.rename(place)
    return place.parent
