"""The table of encoders, for the command line and the README."""

from __future__ import annotations

from asd import plugins
from asd.encoders.base import Encoder
from asd.utils.columns import columns
from asd.utils.sizes_alone import sizes_alone

Row = dict[str, str]
_MOST, _FEW = 6, 3
"""Names of weights in a table; of more than so many, so few."""
COLUMNS = ("encoder", "sample rate", "width", "parameters", "weights", "licence")


def encoder_rows() -> list[Row]:
    """One row for every encoder that can be found. Encoders are built on the meta device, so nothing is computed."""
    return [_row(name, cls) for name, cls in plugins.known(Encoder).items()]  # type: ignore[type-abstract]


def _row(name: str, cls: type[Encoder]) -> Row:
    weights = ", ".join(card.name for card in cls.cards) or "-"
    licences = ", ".join(sorted({card.licence for card in cls.cards})) or "-"
    row = {"encoder": name, "weights": weights, "licence": licences}
    if cls.listing is not None:
        return row | dict(zip(COLUMNS[1:4], cls.listing, strict=True))
    with sizes_alone():
        encoder = cls()
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    return row | {
        "sample rate": f"{encoder.sample_rate} Hz",
        "width": str(encoder.feature_dim),
        "parameters": f"{millions:.2f} M",
    }


def markdown_table(rows: list[Row]) -> str:
    """The rows as a Markdown table with aligned columns; `asd weights list` has all names, this the first of many."""
    lines = [[_few(row[name]) for name in COLUMNS] for row in rows]
    return columns(COLUMNS, lines, style="markdown", text=range(len(COLUMNS)))


def _few(names: str) -> str:
    several = names.split(", ")
    return names if len(several) <= _MOST else f"{', '.join(several[:_FEW])} and {len(several) - _FEW} more"
