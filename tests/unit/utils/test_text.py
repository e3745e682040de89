"""Names from outside, and consoles that cannot show them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from asd.cli.console import mend_console
from asd.utils.files import is_plain
from asd.utils.pairs import read_pairs, write_pairs
from asd.utils.text import as_text, canonical, folded, machine_word, shown


def test_bytes_that_are_no_text_are_escaped() -> None:
    assert as_text("ger\udce4usch.wav") == r"ger\xe4usch.wav"
    assert as_text("gr\udcc3\udcb6\udcc3\udc9fe") == "größe", "a UTF-8 name where the locale knows ASCII alone"
    assert as_text("half \ud83d pair") == r"half \ud83d pair"
    assert as_text("größe 😀\n") == "größe 😀\n"


def test_nothing_that_steers_a_terminal_is_shown() -> None:
    assert shown("a\x1b[31m\x9bb\u202ec\nd\x7f\udce4") == r"a\x1b[31m\x9bb\u202ec\nd\x7f\xe4"
    assert shown("größe 音 😀") == "größe 音 😀"


def test_one_name_has_one_spelling() -> None:
    assert canonical(unicodedata.normalize("NFD", "größe")) == "größe"
    assert folded(unicodedata.normalize("NFD", "GRÖẞE")) == folded("größe")


@pytest.mark.parametrize("name", ["p\udce4mp", "p\x1bmp", "p\\mp", "p\nmp", "größe 音"])
def test_a_machines_name_can_be_that_of_a_file(name: str) -> None:
    assert is_plain(machine_word(name))
    assert machine_word(machine_word(name)) == machine_word(name)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "cp437"])
def test_any_text_is_printed_on_any_console(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding=encoding))
    mend_console()
    text = "ä 音 😀 \udce4"
    print(json.dumps({"name": as_text(text)}, ensure_ascii=False))
    print(text, flush=True)
    lines = held.getvalue().decode(encoding).splitlines()
    assert json.loads(lines[0])["name"] == "ä 音 😀 \\xe4", "a line of JSON stays one"
    assert lines[1].endswith(r" \xe4")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), ("nonsense", 2)])
@pytest.mark.skipif(sys.platform == "win32", reason="the redirections are those of a POSIX shell")
def test_closed_streams_change_no_exit_code(closed: str, arguments: str, code: int) -> None:
    program = f"exec {sys.executable} -m asd {arguments} {closed}"
    assert subprocess.run(["bash", "-c", program], check=False, timeout=120).returncode == code


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="this system's names of files are Unicode always")
def test_names_are_unicode_in_any_locale() -> None:
    program = "import sys; from asd.cli import main; sys.exit(main())"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program, "größe"]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, check=False, timeout=120)
    assert done.returncode == 2
    assert rb"unknown command 'gr\u00f6\u00dfe'" in done.stderr, "the argument was read as UTF-8, the console is ASCII"


def test_score_files_hold_any_name(tmp_path: Path) -> None:
    names = [r"ger\xe4usch.wav", "new\nline.wav", "cr\rhere.wav", 'quo"te, comma.wav', "semi;colon;s.wav", "tab\t.wav"]
    for first in names:  # the first line tells the separator
        pairs = [(first, "0.5"), *((name, "0.5") for name in names if name != first)]
        path = write_pairs(tmp_path / "scores.csv", pairs)
        assert list(read_pairs(path, float)) == [name for name, _ in pairs]
