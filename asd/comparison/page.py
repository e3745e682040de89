"""A comparison as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asd.comparison.results import Comparison
from asd.evaluation.tables import Table
from asd.report import html
from asd.report.html import Pairs, Section
from asd.utils.files import replace_text

_WORDS = (
    ("vector", "which vector of a clip is scored: tokens, with the frequency bands averaged, or bands, side by side"),
    ("pseudo-AUC", "how well normal clips are told from stand-ins for anomalies; no test clip is read for it"),
    ("clips/s", "by encoder and pooling, without reading of files and without the first batch"),
    ("memory", "most that the process of the pass had, libraries included"),
    ("random weights", "the encoder was given no weights: it says what its architecture hears by itself"),
)


def write_page(path: Path, found: Comparison, headline: str, facts: Sequence[tuple[str, str]]) -> Path:
    """Write the page.

    Args:
        path: The file.
        found: What was found.
        headline: What was compared on what.
        facts: Names and values of how it was made.

    Raises:
        OSError: It cannot be written.
    """
    parts = {"ranking": Section("Encoders", [_breaking(found.table()), *found.remarks()])}
    if any(one.rows for one in found.encoders):
        details = found.details()
        table = Table(["encoder and vector", *details.headers[1:]], details.rows)
        parts["back_ends"] = Section(f"Vectors and back ends, {details.headers[0]}", [_breaking(table)])
    parts["origin"] = Section("How it was made", [Pairs(facts), "What the columns are:", Pairs(_WORDS)])
    replace_text(path, html.page("Encoders compared", [headline[0].upper() + headline[1:]], parts))
    return path


def _breaking(table: Table) -> Table:
    """With names that can be broken after each argument: an encoder may have many."""
    return Table(table.headers, [[row[0].replace(",", ", "), *row[1:]] for row in table.rows])
