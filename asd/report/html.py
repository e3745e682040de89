"""What a page is made of, and the page: its template escapes whatever it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asd.evaluation.tables import Table


class Score(NamedTuple):
    """A number in large letters, and what it is."""

    score: str
    text: str


class Scores(NamedTuple):
    """Such numbers beside one another."""

    values: Sequence[Score]


class Heading(NamedTuple):
    """A heading of level 3 or 4 within a section."""

    level: int
    text: str


class Picture(NamedTuple):
    """A picture as a data URI, described for who cannot see it."""

    uri: str
    text: str


class Pairs(NamedTuple):
    """Names and values."""

    values: Sequence[tuple[str, str]]


class Details(NamedTuple):
    """A long text that opens on request."""

    title: str
    text: str


class Listening(NamedTuple):
    """A clip: its name and numbers, and where it can be heard its sound as a data URI, why it scores so, a picture."""

    name: str
    numbers: str
    audio: str = ""
    why: str = ""
    picture: Picture | None = None


class Section(NamedTuple):
    """A section that the table of contents names."""

    title: str
    blocks: Sequence[Block]


Block = str | Scores | Heading | Table | Picture | Pairs | Details | Listening
"""A part of a section; a plain text is a paragraph."""

_FOLDER = Path(__file__).parent
_ENVIRONMENT = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
# A number and its interval, or its unit, stay on one line.
_ENVIRONMENT.filters["whole"] = lambda text: text.replace(" to ", "\u00a0to\u00a0").replace(" %", "\u00a0%")
_ENVIRONMENT.filters["kind"] = lambda one: type(one).__name__


def page(name: str, headline: Sequence[Block], sections: Mapping[str, Section]) -> str:
    """The whole page.

    Args:
        name: Of the run.
        headline: What stands above the table of contents.
        sections: By the name that links lead to.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    template = _ENVIRONMENT.get_template("page.html")
    return template.render(name=name, headline=headline, sections=sections, style=style) + "\n"
