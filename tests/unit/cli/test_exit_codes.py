"""One meaning for each exit code, for every command: 1 is an alarm, so no error may have it."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asd import __version__, cli
from asd.cli import faults
from asd.data.audio.decoding import AudioError
from asd.errors import Notice, UserError

COMMANDS = [*cli.TRAINER_COMMANDS, *cli.SMALL_COMMANDS]


def actions(command: str) -> list[tuple[str, ...]]:
    """A command, and each of its actions."""
    if command in cli.TRAINER_COMMANDS:
        return [(command,)]
    parser = argparse.ArgumentParser()
    cli.module_of(command).add_arguments(parser)
    found = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [(command,), *((command, name) for one in found for name in one.choices)]


EVERY = [action for command in COMMANDS for action in actions(command)]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch):
    """Make a command raise where its work begins."""

    def install(command: str, error: BaseException) -> None:
        def fail(*_: object) -> int:
            raise error

        if command in cli.TRAINER_COMMANDS:
            monkeypatch.setattr("asd.cli.training.run_trainer", fail)
        else:
            monkeypatch.setattr(cli.module_of(command), "run", fail)
            monkeypatch.setattr(cli._Parser, "parse_args", lambda *_: argparse.Namespace())

    return install


@pytest.mark.parametrize("action", EVERY, ids=" ".join)
def test_help_is_0(action: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main([*action, "--help"])
    except SystemExit as stop:
        code = stop.code
    assert code in (0, None)
    assert capsys.readouterr().out


@pytest.mark.parametrize("action", EVERY, ids=" ".join)
def test_an_unknown_flag_is_2(action: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*action, "--no-such-flag"]) == 2
    assert re.fullmatch(r"asd: error: .+\n", capsys.readouterr().err)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_fault_of_ours_is_70_with_its_trace_in_a_file(
    command: str, broken, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken(command, ZeroDivisionError("of\nours"))
    assert cli.main([command, "--given"]) == 70
    shown = capsys.readouterr().err
    (trace,) = tmp_path.iterdir()
    assert re.fullmatch(rf"asd: internal error: ZeroDivisionError: of ours; .*{re.escape(str(trace))}\n", shown)
    text = trace.read_text()
    assert f"asd {__version__}, Python {sys.version}" in text
    assert f"asd {command} --given" in text
    assert "Traceback (most recent call last)" in text
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_is_130(command: str, broken, capsys: pytest.CaptureFixture[str]) -> None:
    broken(command, KeyboardInterrupt())
    assert cli.main([command]) == 130
    assert capsys.readouterr().err == "asd: interrupted\n"


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Exit code and error output of an exception that reaches the top."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(error: BaseException, cause: BaseException | None = None) -> tuple[int, str]:
        def fail(_: list[str]) -> int:
            if cause is None:
                raise error
            try:
                raise cause
            finally:
                raise error  # as a library that does not say so

        monkeypatch.setattr(cli, "_dispatch", fail)
        code = cli.main([])
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1, "one line"
        assert shown.startswith("asd: ")
        return code, shown

    return run


WORKER = "Caught {0} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x, line 1\n"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UserError("mend\nthis"), "mend this"),
        (UserError("asd.yaml: no such file"), "asd.yaml: no such file"),
        (UserError(WORKER.format("UserError") + "asd.errors.UserError: x: gone"), "error: x: gone"),
        (AudioError(WORKER.format("AudioError") + "asd.data.audio.AudioError: a.wav: cut"), "error: a.wav: cut"),
        (RuntimeError(WORKER.format("X") + "asd.serve.recording.TooLongError: a.wav: long"), "error: a.wav: long"),
        (OSError(WORKER.format("OSError") + "OSError: [Errno 28] No space left on device"), "the disk is full"),
        (Notice("look here"), "look here (a warning, which the settings of Python make an error)"),
        (MemoryError(), "out of memory (MemoryError); close other programs"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EMFILE, "Too many open files", "x"), "x: too many files are open; raise the limit"),
        (OSError(errno.EIO, "Input/output error", "x"), "x: the device gave an error"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"), "gone: No such file or directory"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "check the network"),
        (RuntimeError("writing: No space left on device"), "the disk is full"),
        (ModuleNotFoundError("No module named 'umap'", name="umap"), "the package umap is missing"),
    ],
    ids=lambda one: one[:30] if isinstance(one, str) else type(one).__name__,
)  # fmt: skip
def test_what_the_user_can_mend_is_2(error: BaseException, shown: str, raised) -> None:
    code, line = raised(error)
    assert code == 2
    assert shown in line
    assert "Traceback" not in line


def remedy(command: str) -> str:
    """What the program says of memory that does not suffice for a command."""
    code, line = faults.outcome(MemoryError(), [command])
    assert code == 2
    assert line.startswith("asd: error: out of memory (MemoryError); ")
    return line.partition("; ")[2]


def named(text: str) -> list[str]:
    return re.findall(r"--[a-z][\w.-]*\w", text)


@pytest.mark.parametrize("command", cli.SMALL_COMMANDS)
def test_where_memory_does_not_suffice_the_command_has_what_is_named(command: str) -> None:
    assert remedy(command)
    assert set(named(remedy(command))) <= set(cli.parser_of(command)._option_string_actions)
    assert "data." not in remedy(command), "an option of training"


@pytest.mark.parametrize("command", cli.TRAINER_COMMANDS)
def test_where_memory_does_not_suffice_training_has_what_is_named(command: str, parse: Callable[..., Any]) -> None:
    values = {"--trainer.precision": "bf16-mixed", "--model.encoder.gradient_checkpointing": "true"}
    options = named(remedy(command))
    assert "--data.batch_size" in options
    parse([command, "--config=recipe/beats", *(f"{one}={values.get(one, '2')}" for one in options)])


def test_every_remedy_is_of_a_command() -> None:
    assert set(faults.REMEDIES) <= set(COMMANDS)


def test_the_memory_of_a_gpu_is_2(raised) -> None:
    import torch

    assert raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"))[0] == 2


def test_what_lightning_calls_a_wrong_configuration_is_2(raised) -> None:
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    assert raised(MisconfigurationException("no such device"))[0] == 2


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(),
        RecursionError("maximum recursion depth exceeded"),
        KeyError("x"),
        OSError("without a number"),
        OSError(errno.EBADF, "Bad file descriptor"),
        RuntimeError(WORKER.format("IndexError") + "IndexError: list index out of range"),
        ModuleNotFoundError("No module named 'asd.gone'", name="asd.gone"),
        ImportError("cannot import name 'x' from 'asd'", name="asd"),
        BrokenPipeError(errno.EPIPE, "of a pipe that is not the output"),
        SystemExit(1),
        SystemExit("a message"),
        BaseExceptionGroup("several", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_rest_is_70(error: BaseException, raised) -> None:
    assert raised(error)[0] == 70


@pytest.mark.parametrize("error", [SystemExit(1), RuntimeError("a worker exited")])
def test_what_comes_of_ctrl_c_is_130(error: BaseException, raised) -> None:
    assert raised(error, cause=KeyboardInterrupt())[0] == 130


def test_a_trace_that_cannot_be_written_is_said_and_still_70(monkeypatch: pytest.MonkeyPatch, raised) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    code, shown = raised(ValueError("x"))
    assert code == 70
    assert "its trace could not be written (FileNotFoundError)" in shown


# -- streams that are closed or full

BREAK = "import sys; from asd import cli\ndef fail(_):\n    {}\ncli._dispatch = fail\nsys.exit(cli.main([]))"


def program(code: str, shell: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -c '{BREAK.format(code)}' {shell}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [("1 / 0", 70), ("raise KeyboardInterrupt", 130), ("raise cli.UserError(1)", 2), ("return 1", 1)],
)
@pytest.mark.parametrize("shell", ["2>&-", ">&-", ">&- 2>&-", "2> /dev/full", "> /dev/full"])
def test_a_stream_that_takes_nothing_changes_no_code(code: str, expected: int, shell: str, tmp_path: Path) -> None:
    if "full" in shell and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    assert program(code, shell, TMPDIR=str(tmp_path)).returncode == expected


def test_an_output_that_cannot_be_written_is_2() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = program("print(1); return 0", "> /dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        "asd: error: output: the disk is full; free space or choose another folder\n",
    )


def test_a_reader_that_has_enough_is_0() -> None:
    done = program('[print("x" * 1000) for _ in range(1000)]; return 0', "| head -n 1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("interrupted", "terminated", "expected"), [(True, False, KeyboardInterrupt), (False, True, SystemExit)]
)
def test_a_training_that_was_stopped_is_not_done(
    interrupted: bool, terminated: bool, expected: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch.cli import LightningCLI

    from asd.cli.training import TrainingCLI

    def stop(*_: object) -> None:
        raise SystemExit  # as Lightning ends, which would be exit code 0

    monkeypatch.setattr(LightningCLI, "_run_subcommand", stop)
    one = object.__new__(TrainingCLI)
    alone = SimpleNamespace(launcher=None)
    one.trainer = SimpleNamespace(
        interrupted=interrupted, received_sigterm=terminated, logger=None, is_global_zero=True, strategy=alone
    )
    with pytest.raises(expected) as raised:
        one._run_subcommand("fit")
    assert not terminated or raised.value.code == 143  # type: ignore[attr-defined]


def test_a_service_ended_by_ctrl_c_is_130_and_by_sigterm_is_done() -> None:
    from fastapi import FastAPI

    from asd.serve.server import _Server, listen, serve

    def end_by(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
        def startup(self: _Server, sockets: object = None) -> object:
            signal.raise_signal(number)
            return original(self, sockets)

        original = _Server.startup
        monkeypatch.setattr(_Server, "startup", startup)
        app = FastAPI()
        app.state.service = SimpleNamespace(ended=True)
        serve(app, listen("127.0.0.1", 0))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        end_by(signal.SIGINT, patch)
    with pytest.MonkeyPatch.context() as patch:
        end_by(signal.SIGTERM, patch)
