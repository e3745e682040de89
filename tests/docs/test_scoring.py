"""The page on scores names every scorer, and what it shows is understood."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
import yaml

from asd.cli import compare, rescore
from asd.cli.rescore import _spec
from asd.comparison import check_vectors, choices
from asd.configured import configured
from asd.encoders import Adapter
from asd.plugins import known
from asd.scoring import Scorer
from asd.training.callbacks import RunOutputs
from tests.docs.pages import Block

PAGE = (Path(__file__).parents[2] / "docs/guides/scoring.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^asd rescore .*$", PAGE, re.M)
COMPARED = re.findall(r"^asd compare .*$", PAGE, re.M)
WORDS = re.findall(r"`((?:tokens|bands|/rdp|projected|pooled)[\w/+@,-]*)`", PAGE)


def reads(block: Block, command: str) -> str:
    """Configs."""
    return "parsed" if block.page == "guides/scoring.md" and block.language == "yaml" else ""


def test_every_scorer_is_named_and_no_other() -> None:
    ours = {name for name, cls in known(Scorer).items() if cls.__module__.startswith("asd.")}
    rows = re.findall(r"^\| (`[A-Z]\w+`(?:, `\w+`)*) \|", PAGE, re.M)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == ours


@pytest.mark.parametrize("word", sorted(set(WORDS)))
def test_what_is_scored_can_be_said_so(word: str) -> None:
    Adapter(embedding=f"bands{word}" if word.startswith("/") else word)


@pytest.mark.parametrize("command", re.findall(r"^asd predict .*$", PAGE, re.M))
def test_what_is_stored_beside_it_can_be_said_so(command: str) -> None:
    words = shlex.split(command)
    also = yaml.safe_load(words[words.index("--outputs.also") + 1])
    assert [Adapter(embedding=word).embedding for word in also] == also
    assert list(RunOutputs(also=also).also) == also


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
def test_configs_that_are_shown_can_be_built(block: str) -> None:
    assert isinstance(configured(yaml.safe_load(block)["model"]["scorer"], Scorer), Scorer)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    rescore.add_arguments(parser)
    arguments = parser.parse_args(shlex.split(command)[2:])
    if arguments.scorer is not None:
        assert isinstance(configured(_spec(arguments.scorer, arguments.set), Scorer), Scorer)


@pytest.mark.parametrize("command", COMPARED)
def test_encoders_that_are_compared_can_be_said_so(command: str) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    compare.add_arguments(parser)
    arguments = parser.parse_args(shlex.split(command)[2:])
    check_vectors(arguments.what)
    assert len(choices(arguments.encoders)) == len(arguments.encoders)
    assert (arguments.data is None) != (arguments.config is None)
