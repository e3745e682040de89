"""Pieces of a page; whatever comes from a file is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from asd.evaluation.tables import Table


def section(name: str, title: str, *parts: str) -> str:
    """A section that the table of contents can name."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def sentence(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def table(found: Table) -> str:
    """A table, the first column text, the others numbers."""
    note = sentence(found.note) if found.note else ""
    return rows(found.headers, [*found.rows, *found.summary]) + note


def rows(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of cells under headers."""
    head = "".join(f"<th>{escape(one)}</th>" for one in headers)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def pairs(values: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in values)}</dl>"


def image(uri: str, text: str) -> str:
    """A picture, described for who cannot see it."""
    return f'<img src="{escape(uri)}" alt="{escape(text)}" loading="lazy">'


def player(uri: str) -> str:
    """A player of a sound."""
    return f'<audio controls preload="metadata" src="{escape(uri)}"></audio>'


def details(title: str, text: str) -> str:
    """A long text that opens on request."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def page(title: str, style: str, body: str) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>'
        f"<body>{body}</body></html>\n"
    )
