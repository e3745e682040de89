"""Tables of attributes as spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.data.clip import Domain
from asd.data.layouts.own_attributes import Facts, read_facts
from asd.errors import UserError
from asd.utils.sheet import read_sheet

FILES = ("normal/rec0.wav", "normal/mon/rec1.wav", "test/normal/rec0.wav", "normal/A.wav", "normal/a.wav")


def facts(tmp_path: Path, text: str | bytes) -> tuple[dict[str, Facts], list[str]]:
    folder = tmp_path / "pump"
    folder.mkdir()
    table = folder / "attributes.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    found, faults = read_facts(table, folder, [folder / name for name in FILES])
    return {path.relative_to(folder).as_posix(): fact for path, fact in found.items()}, faults


@pytest.mark.parametrize(
    "name",
    [
        "normal/mon/rec1.wav", r"normal\mon\rec1.wav", "rec1.wav", "rec1", "REC1.WAV", "Normal/Mon/Rec1.WAV",
        "pump/normal/mon/rec1.wav", "/data/pump/normal/mon/rec1.wav", r"C:\data\pump\normal\mon\rec1.wav",
        r"D:\recorder\rec1.wav", "./normal/mon/rec1.wav",
    ],
)  # fmt: skip
def test_names_are_found_however_they_are_written(name: str, tmp_path: Path) -> None:
    found, faults = facts(tmp_path, f"file_name,speed,domain\n{name},3,Source\n")
    assert not faults
    assert found == {"normal/mon/rec1.wav": Facts("speed_3", Domain.SOURCE)}


@pytest.mark.parametrize(
    "text",
    [
        "file_name;speed;domain\r\nrec1.wav;3;source\r\n",
        "file_name\tspeed\tdomain\nrec1.wav\t3\tsource\n",
        "\ufefffile_name,speed,domain\r\nrec1.wav,3,source\r\n,,\r\n",
        "File_Name,speed,DOMAIN,,\nrec1.wav,3,SOURCE,,\n",
        "sep=;\r\nfile_name;speed;domain\r\nrec1.wav;3;source\r\n",
        "domain,file name,speed\nsource,rec1.wav,3\n",
        "file_name,speed,domain\rrec1.wav,3,source\r",
        '"file_name";"speed";"domain"\n"rec1.wav";"3";"source"\n',
    ],
)
def test_tables_of_spreadsheets_are_read(text: str, tmp_path: Path) -> None:
    found, faults = facts(tmp_path, text)
    assert not faults
    assert found == {"normal/mon/rec1.wav": Facts("speed_3", Domain.SOURCE)}


def test_a_separator_inside_quotes_is_none(tmp_path: Path) -> None:
    found, _ = facts(tmp_path, 'file_name,"load; torque; a"\nrec1.wav,"1;2,3"\n')
    assert found["normal/mon/rec1.wav"].attributes == "load; torque; a_1;2,3"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("file_name,speed\nrec0.wav,3\n", "line 2: rec0.wav may be normal/rec0.wav and test/normal/rec0.wav"),
        ("file_name,speed\nA,3\nnormal/A.WAV,3\n", "line 3: normal/A.WAV may be normal/A.wav and normal/a.wav"),
        ("file_name,speed\nfan/normal/rec0.wav,3\n", "no file fan/normal/rec0.wav in"),
        ("file_name,speed\nrec1.wav,3\nrec1.wav,4\n", "line 3: rec1.wav is there twice"),
        ("file_name,speed,Speed\nrec1.wav,3,4\n", "two columns are called speed"),
        ("file_name,speed,\nrec1.wav,3,4\n", "line 2: a value lies in a column without a name"),
        ("file_name,speed\n,4\n", "line 2: no file name"),
        ("file_name,domain\nrec1.wav,near\n", "domain is 'near'; give source or target"),
        ("file_name,größe\nrec1.wav,1\n".encode("cp1252"), "(byte 0xf6 in line 1); save it as 'CSV UTF-8"),
        ("file_name,speed\nrec1.wav,1\n".encode("utf-16"), "(zero bytes, as in UTF-16); save it as 'CSV UTF-8"),
        ("file_name,speed\nrec1.wav,1\n".encode("utf-16-le"), "(zero bytes, as in UTF-16); save it as 'CSV UTF-8"),
        ("", "the first line must be file_name"),
    ],
)
def test_what_cannot_be_told_is_a_fault_and_no_guess(text: str | bytes, shown: str, tmp_path: Path) -> None:
    _, faults = facts(tmp_path, text)
    assert shown in faults[0]


def test_lines_are_counted_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('sep=;\n\na;b\n"two\nlines";c\nd;e\n')
    assert read_sheet(path) == [
        (f"{path}, line 3", ["a", "b"]), (f"{path}, line 5", ["two\nlines", "c"]), (f"{path}, line 6", ["d", "e"]),
    ]  # fmt: skip


def test_a_cell_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("file_name,speed\na," + "9" * 200_000)
    with pytest.raises(UserError, match="is not text of comma-separated values"):
        read_sheet(path)
