"""Archives with odd entries: one line each, and nothing is unpacked."""

from __future__ import annotations

import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from asd.data.download.unzip import unpack
from asd.errors import UserError


def packed(path: Path, names: list[str], content: bytes = b"sound") -> Path:
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            file.writestr(zipfile.ZipInfo(name or "placeholder"), content if name[-1:] != "/" else b"")
    if "" in names:
        raw = path.read_bytes()  # a writer gives no empty name: cut it out of both headers
        path.write_bytes(_without_names(raw))
    return path


def _without_names(raw: bytes) -> bytes:
    name = b"placeholder"
    first, central = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    local = bytearray(raw[first:central].replace(name, b""))
    local[26:28] = struct.pack("<H", 0)
    listed = bytearray(raw[central:end].replace(name, b""))
    listed[28:30] = struct.pack("<H", 0)
    tail = bytearray(raw[end:])
    tail[12:20] = struct.pack("<II", len(listed), len(local))
    return bytes(local + listed + tail)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([""], "cannot be the name of a file"),
        (["."], "cannot be the name of a file"),
        (["./"], "cannot be the name of a file"),
        (["fan", "fan/a.wav"], "is a file and a folder"),
        (["fan/a.wav", "fan"], "is a file and a folder"),
        (["fan/", "fan"], "is a file and a folder"),
        (["Fan/a.wav", "fan"], "is a file and a folder"),
        (["a" * 300 + ".wav"], "cannot be the name of a file"),
        (["f" * 300 + "/a.wav"], "cannot be the name of a file"),
        (["a\nb.wav"], "cannot be the name of a file"),
        (["a\x7f.wav"], "cannot be the name of a file"),
        (["a.wav", "./a.wav"], "there twice"),
        (["a.wav", "A.WAV"], "there twice"),
        (["../a.wav"], "leads outside"),
        (["/a.wav"], "leads outside"),
        (["a/../../b.wav"], "leads outside"),
        (["..\\a.wav"], "leads outside"),
        (["c:a.wav"], "leads outside"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_odd_entries_are_refused(names: list[str], why: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", names)
    with pytest.raises(UserError, match=why):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bytes_that_were_changed_are_told_whatever_packed_them(method: int, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("fan/a.wav", bytes(range(256)) * 40)
    raw = bytearray(archive.read_bytes())
    for at in range(60, len(raw) - 120, 7):
        raw[at] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(UserError, match="broken archive"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "fan").exists()


def test_every_cut_is_one_line(tmp_path: Path) -> None:
    whole = packed(tmp_path / "whole.zip", ["fan/a.wav", "fan/b.wav"]).read_bytes()
    for length in range(0, len(whole), 9):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(UserError, match="broken archive"):
            unpack(tmp_path / "cut.zip", tmp_path / "out")
