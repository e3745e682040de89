"""Rows of cells under headers as text."""

from __future__ import annotations

from collections.abc import Container, Sequence

import tabulate

STYLES = {"plain": "plain", "table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
"""Ours, and those of the library: bare columns, columns with rules, and tables of Markdown and LaTeX."""


def columns(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    summary: Sequence[Sequence[str]] = (),
    style: str = "plain",
    text: Container[int] = (0,),
) -> str:
    """A table.

    Args:
        headers: Titles of the columns.
        rows: The cells.
        summary: Rows below a rule, where the style has rules.
        style: One of `STYLES`.
        text: The columns that are aligned to the left; the others, numbers, are aligned to the right.
    """
    lines = [*rows, *([tabulate.SEPARATING_LINE] if summary and style in ("table", "latex") else []), *summary]
    if style == "markdown":
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    tabulate.MIN_PADDING = 0  # else every header takes two more
    align = ["left" if place in text else "right" for place in range(len(headers))]
    shown = tabulate.tabulate(lines, headers, STYLES[style], disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in shown.splitlines())
