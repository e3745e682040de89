"""What the guides for a plant show is understood, and their figures are those that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from asd.evaluation.intervals import clopper_pearson
from asd.events.event import NOT_DELIVERED, schema
from asd.plant.options import read
from tests.docs.pages import DOCS, Block, blocks, listed

ROOT = DOCS.parent
PAGES = listed(DOCS / "guides/index.md", "In a plant")
BLOCKS = list(blocks(*PAGES))
QUESTIONS = (DOCS / "guides/questions.md").read_text(encoding="utf-8")
SOURCES = ("tests/benchmarks/RESULTS.md", "README.md")
"""Where figures of the tables come from: what was measured, and the table of encoders."""


def of(language: str) -> pytest.MarkDecorator:
    """Each block of a language."""
    return pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == language], ids=str)


def reads(block: Block, command: str) -> str:
    """Configs and events."""
    return "parsed" if block in BLOCKS and block.language in ("json", "yaml") else ""


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of all tables, heads left out."""
    lines = re.findall(r"^\| (.*) \|\n(?!\|[ :-]*---)", f"{text}\n", re.M)
    return [line.split(" | ") for line in lines]


def test_nothing_is_shown_that_nothing_reads() -> None:
    """Commands are parsed in `test_readme` and `test_shell`, the others below."""
    assert {one.language for one in BLOCKS} == {"bash", "json", "text", "yaml"}


@of("yaml")
def test_configs_are_understood(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert read(path, {}).sources


@of("json")
def test_what_is_posted_is_an_event(block: Block) -> None:
    event = json.loads(block.text)
    jsonschema.validate(event, schema())
    assert event["type"] not in NOT_DELIVERED


def test_what_blocks_promise_is_computed() -> None:
    page = (DOCS / "guides/verdicts.md").read_text(encoding="utf-8")
    blocks_row = re.search(r"^\| independent blocks \| (.*) \|$", page, re.M)
    promised = re.search(r"^\| promised at best.*? \| (.*) \|$", page, re.M)
    assert blocks_row and promised
    best = [100 * clopper_pearson(0, int(count))[1] for count in blocks_row[1].split(" | ")]
    assert promised[1].split(" | ") == [f"{one:.2g}" for one in best]


@pytest.mark.parametrize("name", ["choose_a_recipe", "how_much", "limits_of_use", "new_place"])
def test_figures_of_tables_are_those_that_were_measured(name: str) -> None:
    measured = {
        figure for source in SOURCES for figure in re.findall(r"\d+\.\d+", (ROOT / source).read_text(encoding="utf-8"))
    }
    page = (DOCS / f"guides/{name}.md").read_text(encoding="utf-8")
    shown = {figure for row in rows(page) for cell in row for figure in re.findall(r"(?<![\d-])\d+\.\d+", cell)}
    assert len(shown) >= 5
    assert shown <= measured, sorted(shown - measured)


def test_every_question_has_its_page() -> None:
    """By a link, or by the name of a page that is to come; Sphinx sees to it that links lead somewhere."""
    engineers, researchers = (rows(part) for part in QUESTIONS.split("## Of researchers"))
    assert len(engineers) == 15
    assert len(researchers) >= 11
    for question, answer in (*engineers, *researchers):
        assert question.endswith("?")
        assert re.search(r"\]\([\w./#-]+\)|(?:guides|reference)/\w+", answer), question
