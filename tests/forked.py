"""The program in processes copied from one that has imported it all, which saves each of them ten seconds.

Each is a process of its own, with its folder, environment, output and end, as of ``python -m asd``. What Python itself
reads at its start (``PYTHONPATH``, the locale) is that of the tests, but for ``PYTHONIOENCODING``.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import inspect
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    _CONTEXT.set_forkserver_preload(["asd.cli.training"])


class Forked:
    """`asd` with these arguments, running.

    Args:
        arguments: Of the program.
        cwd: The folder that it runs in.
        env: Set beside the environment of the tests.
    """

    def __init__(self, *arguments: object, cwd: Path, **env: str) -> None:
        self.arguments = list(map(str, arguments))
        self._said = Path(tempfile.mkdtemp(prefix="said", dir=cwd))
        environment = {**os.environ, "WANDB_MODE": "offline", **env}
        if "PL_GLOBAL_SEED" not in env:
            environment.pop("PL_GLOBAL_SEED", None)
        self._process = _CONTEXT.Process(target=_run, args=(self.arguments, cwd, environment, self._said))
        self._process.start()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self, expect: int = 0, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and insist on its exit code, negative where a signal ended it."""
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            raise AssertionError(f"did not end within {timeout} s: {self.arguments}\n{self._read('stderr')[-3000:]}")
        code = self._process.exitcode
        done = subprocess.CompletedProcess(self.arguments, code or 0, self._read("stdout"), self._read("stderr"))
        assert code == expect, f"exit code {code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def _read(self, name: str) -> str:
        path = self._said / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def in_its_own_process(function: Callable[..., None], *arguments: object, log: Path, timeout: float = 240) -> None:
    """Call a function where what it imports and defines is nobody else's; what it says goes to the file `log`."""
    process = _CONTEXT.Process(target=_call, args=(function, arguments, log))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0, log.read_text(encoding="utf-8")[-6000:]


def as_on_every_processor(test: Callable[..., None]) -> Callable[..., None]:
    """A test that is run in a process of its own, where MKL computes the same on every processor, many times slower.

    Its fast transforms differ in the last bits between kinds of processors, and the logarithm of silence makes much of
    them.
    """

    @functools.wraps(test)
    def apart(**arguments: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            in_its_own_process(_portably, test.__module__, test.__name__, arguments, log=Path(folder) / "said.txt")

    return apart


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def ranks(count: int, port: int) -> list[dict[str, str]]:
    """The environment of each process of a distributed run of `count`, as Lightning and torchrun set it."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "NODE_RANK": "0"}
    return [{**common, "LOCAL_RANK": str(rank)} for rank in range(count)]


def _portably(module: str, name: str, arguments: Mapping[str, object]) -> None:
    # MKL reads it when it is first called, which is later than the import of torch.
    os.environ["MKL_CBWR"] = "COMPATIBLE"
    inspect.unwrap(getattr(importlib.import_module(module), name))(**arguments)


def _call(function: Callable[..., None], arguments: tuple[object, ...], log: Path) -> None:
    with log.open("w", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    function(*arguments)


def _run(arguments: list[str], cwd: Path, environment: Mapping[str, str], said: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    for descriptor, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        file = os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
        setattr(sys, name, open(descriptor, "w", encoding=encoding, errors=errors, closefd=False))  # noqa: SIM115 - open
    # Tests that run in the background of a shell are deaf to it, and so would the program be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["asd", *arguments]
    try:
        runpy.run_module("asd", run_name="__main__", alter_sys=True)
    finally:  # which a copied process leaves out at its end
        atexit._run_exitfuncs()
