"""What a shell is told beside `asd`: packages, files, options and tools that are named are there."""

from __future__ import annotations

import argparse
import importlib
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asd.inference import edge
from tests.docs.pages import BOOK, DOCS, ROOT, SHELLS, Block, blocks

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
DECLARED = {
    re.split(r"[\[<>=!~; ]", one)[0].lower()
    for one in (*PROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra))
}
CI = [line.strip() for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()]
RESULTS = (ROOT / "tests/benchmarks/RESULTS.md").read_text(encoding="utf-8").replace("\\\n", " ")


class _Understood(Exception):  # noqa: N818 - no error
    pass


def understood(main: Callable[[], object], arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Insist that a program takes these arguments, and end it there."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self: argparse.ArgumentParser, *given: Any) -> None:
        parse(self, *given)
        raise _Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with pytest.raises(_Understood):
        main()


def _pip(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        name, _, extras = word.rstrip("]").partition("[")
        assert name in ("-e", ".", "asd-zoo", *DECLARED), word
        assert set(filter(None, extras.split(","))) <= set(EXTRAS), word


def _python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] != "-m":
        assert words[0] == "bundle/edge.py"
        understood(edge.main, words[1:], monkeypatch)
    elif words[1].startswith("tests.benchmarks."):
        module = importlib.import_module(words[1])
        if hasattr(module, "argparse"):
            understood(module.main, words[2:], monkeypatch)
        else:  # it takes no arguments, and must not begin
            assert words[2:] == []
    else:
        assert words[1] in ("venv", "pytest")


def _pytest(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    markers = [one.partition(":")[0] for one in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
    for option, word in zip(["", *words], words, strict=False):
        assert word in ("-m", "-n") or (word in markers if option == "-m" else option == "-n" or (ROOT / word).exists())


def _uv(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of the lowest versions: of extras that there are, from the file that the first command writes."""
    assert words[0] in ("pip", "venv")
    pairs = list(itertools.pairwise(words))
    assert {word for option, word in pairs if option == "--extra"} <= set(EXTRAS)
    assert {word for option, word in pairs if option in ("-o", "-r")} <= {"lowest.txt"}


def _checked(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(line.split()[1:] == words for line in CI if line.split()[:1] and line.split()[0] in CHECKS)


def _activated(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert words == [".venv/bin/activate"]


CHECKS = ("ruff", "mypy", "codespell")
PROGRAMS: dict[str, Callable[[list[str], pytest.MonkeyPatch], None]] = {
    ".": _activated,
    "pip": _pip,
    "pytest": _pytest,
    "python": _python,
    "python3": _python,
    "lowest/bin/python": _python,
    "uv": _uv,
    **dict.fromkeys(CHECKS, _checked),
}
TOLD = [
    command
    for block in blocks(*BOOK)
    if block.language in SHELLS
    for command in block.commands
    if command.split()[0] in PROGRAMS
]
MEASURED = [
    " ".join((line or words).split())
    for line, words in re.findall(r"^    (python -m tests\..*)|`(python -m tests\.[^`]*)`", RESULTS, re.M)
]
(CONTAINERS,) = [one for one in blocks(DOCS / "guides/plant.md") if "docker compose" in one.text]


def reads(block: Block, command: str) -> str:
    """What is typed beside `asd`; the containers are prepared, not started."""
    if block == CONTAINERS:
        return "parsed" if "docker" in command else "run"
    return "parsed" if block.language in SHELLS and command in TOLD else ""


@pytest.mark.parametrize("command", [*dict.fromkeys([*TOLD, *MEASURED])])
def test_what_is_typed_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(command)
    PROGRAMS[program](words, monkeypatch)


def test_containers_find_what_the_page_prepares(tmp_path: Path) -> None:
    """All but their start is done: secrets and the detector lie where they are looked for."""
    compose = yaml.safe_load((ROOT / "configs/deploy/compose.yaml").read_text(encoding="utf-8"))
    trained = tmp_path / "...", "runs/my_machine/version_0/checkpoints/last.ckpt"
    Path(*trained).parent.mkdir(parents=True)
    Path(*trained).write_bytes(b"a detector")
    *before, start = CONTAINERS.commands
    for command in before:
        subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    assert {f"./{path.relative_to(tmp_path)}" for path in tmp_path.glob("secrets/*")} == {
        one["file"] for one in compose["secrets"].values()
    }
    assert compose["services"]["serve"]["command"][1] == "/plant/detector.ckpt"
    assert (tmp_path / "plant/detector.ckpt").read_bytes() == b"a detector"
    assert f"${{{start.partition('=')[0]}:-" in compose["x-asd"]["build"]["context"]
