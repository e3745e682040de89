"""Tables for a screen, for Markdown and for LaTeX."""

from __future__ import annotations

import pytest

from asd.evaluation.tables import Table
from asd.utils.columns import STYLES, columns

ROWS = [["fan", "61.20"], ["gear|box", "-"]]


def test_numbers_end_below_each_other_and_the_summary_below_a_rule() -> None:
    assert columns(["machine", "AUC"], ROWS, [["all", "7.00"]], "table").splitlines() == [
        "machine     AUC",
        "--------  -----",
        "fan       61.20",
        "gear|box      -",
        "--------  -----",
        "all        7.00",
    ]
    assert columns(["label", "class"], [["1", "fan"]], text=(1,)).splitlines() == ["label  class", "    1  fan"]


def test_markdown_and_latex_take_names_as_they_are() -> None:
    assert columns(["machine", "AUC"], ROWS, style="markdown").splitlines()[-1] == "| gear\\|box |     - |"
    hostile = r"a_b%c&d$e#f{g}h\i"
    (line,) = [one for one in columns(["machine"], [[hostile]], style="latex").splitlines() if one.startswith(" a")]
    assert line.split() == [r"a\_b\%c\&d\$e\#f\{g\}h\textbackslash{}i", r"\\"]


@pytest.mark.parametrize("style", STYLES)
def test_numbers_are_printed_as_they_are_given(style: str) -> None:
    shown = columns(["name", "value"], [["1e3", "07.50"], ["0x1", "1_000"]], style=style)
    assert all(cell in shown.replace("\\_", "_") for cell in ("1e3", "07.50", "0x1", "1_000"))


@pytest.mark.parametrize("style", STYLES)
def test_a_table_may_be_empty(style: str) -> None:
    assert "machine" in columns(["machine", "AUC"], [], style=style)


def test_a_note_stands_below() -> None:
    table = Table(["machine", "AUC"], ROWS, note="Two machines.")
    assert table.text().endswith("-\nTwo machines.")
    assert table.render("markdown").endswith("|\n\nTwo machines.")
    assert table.render("latex").endswith("\\end{tabular}\n% Two machines.")
