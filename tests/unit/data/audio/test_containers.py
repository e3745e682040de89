"""What files promise against what they hold: read to the end, or refused as cut short; never quietly short."""

from __future__ import annotations

import io
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.data.audio.decoding import AudioError, opened, read, read_header
from asd.data.check.measure import measure
from asd.data.clip import Clip, Member, Sound, Split
from tests.ffmpeg import needs_ffmpeg

RATE = 16000
SAMPLES = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).clip(-1, 1).astype(np.float32)
STEPS = (SAMPLES * 32767).astype("<i2")
PCM = STEPS.tobytes()
UNKNOWN = 0xFFFFFFFF


def chunk(tag: bytes, content: bytes, size: int | None = None, pad: bool = True) -> bytes:
    length = struct.pack("<I", len(content) if size is None else size)
    return tag + length + content + b"\0" * (pad and len(content) % 2)


def riff(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    return chunk(magic, b"WAVE" + b"".join(chunks), size)


def sizes(riff_size: int, data_size: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", riff_size, data_size, 0, 0))


def encoded(form: str, subtype: str | None = None, samples: np.ndarray = SAMPLES) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, subtype=subtype, format=form)
    return file.getvalue()


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
LIST = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"Recorder 1.0\0"))
ODD = chunk(b"LIST", b"INFOISFT\5\0\0\0abcd\0", pad=False)
FLAC, W64, AIFF, CAF, AU = (encoded(form) for form in ("FLAC", "W64", "AIFF", "CAF", "AU"))
NO_LENGTH = patched(FLAC, 21, bytes([FLAC[21] & 0xF0, 0, 0, 0, 0]))
STOPPED = {
    **{
        f"data {n:#x}": riff(FMT, chunk(b"data", PCM, n), size=n)
        for n in (0, 0x7FFF0000, 0x7FFFFFD8, 0x80000000, UNKNOWN)
    },
    "riff right": riff(FMT, chunk(b"data", PCM, 0)),
    "LIST before": riff(FMT, LIST, chunk(b"data", PCM, UNKNOWN), size=UNKNOWN),
    "LIST after": riff(FMT, chunk(b"data", PCM, 0), LIST, size=0),
    "not padded": riff(FMT, ODD, chunk(b"data", PCM)),
    "ID3 before": b"ID3\3\0\0\0\0\0\x15" + bytes(21) + riff(FMT, chunk(b"data", PCM, 0), size=0),
    "half a sample": riff(FMT, chunk(b"data", PCM + b"\1", UNKNOWN, pad=False), size=UNKNOWN)[:-1],
    "RF64, -1": riff(sizes(2**64 - 1, 2**64 - 1), FMT, chunk(b"data", PCM, UNKNOWN), size=UNKNOWN, magic=b"RF64"),
    "RF64, 0": riff(sizes(0, 0), FMT, chunk(b"data", PCM, UNKNOWN), size=UNKNOWN, magic=b"RF64"),
    "BW64": riff(sizes(0, 0), FMT, chunk(b"data", PCM, 0), size=0, magic=b"BW64"),
    "W64, -1": patched(W64, W64.index(b"data") + 16, b"\xff" * 8),
    "W64, 0": patched(W64, W64.index(b"data") + 16, bytes(8)),
    "AIFF": patched(patched(AIFF, AIFF.index(b"SSND") + 4, bytes(4)), AIFF.index(b"COMM") + 10, bytes(4)),
    "CAF": patched(CAF, CAF.index(b"data") + 4, b"\xff" * 8),
    "AU": patched(AU, 8, b"\x7f\xff\0\0"),
    "FLAC": NO_LENGTH,
}


@pytest.mark.parametrize("name", STOPPED)
def test_what_a_stopped_recorder_left_is_read_to_its_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(STOPPED[name])
    assert read_header(path).frames == len(STEPS)
    # Encoders round half a step up or down.
    assert np.abs(read(path, RATE) - STEPS / np.float32(32768)).max() < 1e-4
    assert measure(clip(path)).fault == ""
    part = read(Sound(path, 1.0, 0.5), RATE)
    assert np.array_equal(part, read(path, RATE)[RATE : RATE + RATE // 2]), "parts are found as well"
    assert len(read(Sound(Path("sent"), content=STOPPED[name]), RATE)) == len(STEPS)
    (tmp_path / "a.tar").write_bytes(bytes(100) + STOPPED[name])
    member = Member(str(tmp_path / "a.tar"), 100, len(STOPPED[name]))
    assert len(read(Sound(Path("packed"), member=member), RATE)) == len(STEPS)


WHOLE = [
    ("WAV", None), ("WAV", "MS_ADPCM"), ("RF64", None), ("W64", None), ("AIFF", None), ("CAF", None),
    ("CAF", "ALAC_16"), ("AU", None), ("FLAC", None), ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS"),
]  # fmt: skip


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("form", "subtype"), WHOLE)
def test_part_of_a_file_is_cut_short(form: str, subtype: str | None, part: float, tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = encoded(form, subtype)
    path.write_bytes(whole)
    assert abs(len(read(path, RATE)) - len(STEPS)) < 1000
    assert np.array_equal(read(Sound(Path("sent"), content=whole), RATE), read(path, RATE))
    assert measure(clip(path)).fault == ""
    path.write_bytes(whole[: int(len(whole) * part)])
    for use in (lambda: read(path, RATE), lambda: read_header(path)):
        with pytest.raises(AudioError, match=r"cut short.*; copy the file again"):
            use()
    assert "cut short" in measure(clip(path)).fault


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "fast.m4a", "webm", "mkv", "aac", "wma", "oga"])
def test_what_ffmpeg_decodes_is_whole_or_cut_short(suffix: str, tmp_path: Path) -> None:
    path, copy = tmp_path / f"a.{suffix}", tmp_path / "content decides.wav"
    soundfile.write(tmp_path / "a.wav", SAMPLES, RATE)
    more = ["-movflags", "+faststart"] if "fast" in suffix else ["-c:a", "flac"] if suffix == "oga" else []
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *more, path], check=True)
    whole = path.read_bytes()
    copy.write_bytes(whole)
    assert abs(len(read(copy, RATE)) - len(STEPS)) < 2500
    for part in (0.1, 0.5, 0.9):
        copy.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(AudioError, match="cut short"):
            read(copy, RATE)


@needs_ffmpeg
def test_an_mp3_of_changing_rate_that_does_not_say_its_length_is_read_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([SAMPLES * 0.001, SAMPLES, SAMPLES, SAMPLES]), RATE)
    path = tmp_path / "a.mp3"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-q:a", "2", "-write_xing", "0", path]
    subprocess.run(command, check=True)
    assert abs(len(read(path, RATE)) - 4 * len(STEPS)) < 2500
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match=r"cut short, .* of its last frame are missing"):
        read(path, RATE)


@pytest.mark.parametrize(
    "content",
    [
        patched(FLAC, 21, bytes([FLAC[21] | 0x0F]) + b"\xff" * 4),
        patched(FLAC, 21, bytes([FLAC[21] & 0xF0]) + struct.pack(">I", 100 * len(STEPS))),
        patched(W64, W64.index(b"data") + 16, struct.pack("<Q", 1 << 45)),
        riff(sizes(1 << 45, 1 << 45), FMT, chunk(b"data", PCM, UNKNOWN), size=UNKNOWN, magic=b"RF64"),
        patched(CAF, CAF.index(b"data") + 4, struct.pack(">q", 1 << 45)),
        riff(FMT, chunk(b"data", PCM, 1 << 30)),
    ],
    ids=["FLAC, a year", "FLAC, minutes", "W64", "RF64", "CAF", "WAV"],
)
def test_a_header_that_promises_hours_takes_no_memory(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for use in (lambda: read(path, RATE), lambda: read_header(path)):
        with pytest.raises(AudioError, match="cut short"):
            use()


def test_a_wait_for_a_pipe_or_for_a_million_chunks_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + bytes(4) + b"WAVE" + bytes(8_000_000))
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read(path, RATE)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read(path, RATE)


def test_a_playlist_never_goes_to_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.data.audio.ffmpeg.decoded", lambda *_: pytest.fail("ffmpeg would follow its addresses"))
    path = tmp_path / "a.m4a"
    path.write_text("#EXTM3U\nhttp://example.invalid/a.aac\n")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read(path, RATE)


def test_a_header_that_says_far_less_and_zeros_at_the_end_are_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(FMT, chunk(b"data", PCM, len(PCM) // 4)))
    assert "its header tells of 16000 bytes of sound, and 48000 more follow" in measure(clip(path)).remark
    soundfile.write(path, np.concatenate([SAMPLES, np.zeros(RATE)]), RATE)
    assert "ends in 1.0 s of zeros" in measure(clip(path)).remark
    for usual in (
        riff(FMT, chunk(b"data", PCM), LIST),
        riff(FMT, chunk(b"data", PCM + bytes(1600))) + b"TAG" + bytes(125),
    ):
        path.write_bytes(usual)
        assert measure(clip(path)).remark == ""


def clip(path: Path) -> Clip:
    return Clip(path, "fan", "00", Split.TRAIN, None, None)


@pytest.mark.parametrize(("part", "told"), [(1.0, False), (0.9, False), (0.5, True), (0.05, True)])
def test_a_flac_header_that_says_far_less_is_remarked(part: float, told: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 64000).clip(-1, 1), 16000)
    raw = bytearray(path.read_bytes())
    whole = int.from_bytes(raw[18:26])
    raw[18:26] = (whole - 64000 + round(part * 64000)).to_bytes(8)
    padding = b"\x01" + (300_000).to_bytes(3) + bytes(300_000)  # is no sound
    path.write_bytes(raw[:42] + padding + raw[42:])
    with opened(path) as file:
        assert file.frames == round(part * 64000)
        assert ("its header tells of" in file.remark) is told
