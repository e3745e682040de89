"""The program answers at once, refuses in one line, and knows its commands."""

from __future__ import annotations

import errno

import pytest

from asd import __version__, cli
from asd.errors import UserError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"asd {__version__}\n"


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*cli.TRAINER_COMMANDS, *cli.SMALL_COMMANDS])


@pytest.mark.parametrize("name", cli.SMALL_COMMANDS)
def test_every_small_command_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"asd {name}" in capsys.readouterr().out


def test_an_unknown_command_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encodrs"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean encoders?" in error
    assert error.count("\n") == 1


def test_a_truncated_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encoders", "--js"]) == 2
    assert "--js" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "shown"),
    [
        (UserError("one\nline"), 2, "asd: error: one line\n"),
        (OSError(errno.ENOSPC, "No space left", "/somewhere/x"), 2, "/somewhere/x: the disk is full"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_command_raises_becomes_one_line(
    raised: BaseException, code: int, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main([]) == code
    error = capsys.readouterr().err
    assert shown in error
    assert error.count("\n") == 1
