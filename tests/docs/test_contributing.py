"""What the page for contributors names is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PATHS = sorted(set(re.findall(r"\b(?:asd|configs|plugins|tests)/[\w/.]*\w", PAGE)))


def reads(block: Block, command: str) -> str:
    """Settings of other tools."""
    return "parsed" if block.page == "contributing.md" and block.language == "toml" else ""


def test_settings_of_mutation_are_of_folders_and_files_that_there_are() -> None:
    (block,) = [one for one in blocks(ROOT / "docs/contributing.md") if one.language == "toml"]
    settings = tomllib.loads(block.text)["tool"]["mutmut"]
    named = [*settings["source_paths"], *settings["also_copy"], *settings["pytest_add_cli_args_test_selection"]]
    assert [one for one in named if not (ROOT / one).exists()] == []


@pytest.mark.parametrize("path", PATHS)
def test_files_that_are_named_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_extras_that_are_named_exist() -> None:
    named = {one for options in re.findall(r"(?:--extra (\w+)|\.\[(\w+)\])", PAGE) for one in options if one}
    assert named
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_checks_of_every_submission_are_those_of_the_page() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("ruff check")]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert all(command.strip() in script for command in line.split("&&"))
