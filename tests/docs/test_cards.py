"""Every recipe has a card, and what it says was measured stands in RESULTS, in the section that it names."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from asd import plugins
from asd.cli.catalogue import recipe_rows
from tests.docs.pages import DOCS, ROOT

RESULTS = (ROOT / "tests/benchmarks/RESULTS.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", RESULTS, re.M))
NUMBER = re.compile(r"\d+(?:\.\d+)?")
ABOUT = ("section", "of", "what", "limits")
"""Keys whose values are words about a figure; those of all others are figures."""


@pytest.fixture(scope="module")
def cards() -> Iterator[ModuleType]:
    """What writes the cards."""
    plugins.load_all()
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module("cards")
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def pages(cards: ModuleType) -> dict[str, str]:
    return dict(cards.cards())


@pytest.fixture(scope="module")
def names() -> list[str]:
    plugins.load_all()
    return [row["recipe"] for row in recipe_rows()]


def figures(part: Any) -> Iterator[dict[str, str]]:
    """Everything that has a section, wherever it stands."""
    if isinstance(part, dict):
        if "section" in part:
            yield part
        for one in part.values():
            yield from figures(one)
    elif isinstance(part, list):
        for one in part:
            yield from figures(one)


def test_every_recipe_has_its_card_and_no_other(cards: ModuleType, pages: dict[str, str], names: list[str]) -> None:
    assert set(cards.measured()["recipes"]) == set(names), "docs/measured.yaml says of each what it is for"
    assert {f"cards/{name}.md" for name in names} < set(pages)
    for name in names:
        assert f"[`{name}`]" in pages["included/recipes.md"]
        for title in ("The system", "Data", "Measured", "Limits of use"):
            assert f"## {title}" in pages[f"cards/{name}.md"]


def test_every_figure_stands_in_the_section_that_is_named(cards: ModuleType) -> None:
    found = list(figures(cards.measured()))
    assert len(found) > 20
    for one in found:
        told = set(NUMBER.findall(SECTIONS[one["section"]]))
        shown = {number for key, text in one.items() if key not in ABOUT for number in NUMBER.findall(text)}
        assert shown, one
        assert shown <= told, one


def test_nothing_that_was_not_measured_has_a_figure(cards: ModuleType, pages: dict[str, str]) -> None:
    for name, facts in cards.measured()["recipes"].items():
        card = pages[f"cards/{name}.md"].partition("## Frozen")[0]
        assert (f"| score | {cards.NOT} |" in card) == ("score" not in facts)
        assert (f"promised and observed: {cards.NOT}" in card) == ("verdicts" not in facts)
        assert (f"| memory in training | {cards.NOT} |" in card) == ("memory" not in facts.get("training", {}))
        assert set(facts.get("on", ())) <= set(cards.measured()["sets"])
        assert facts["limits"], name
