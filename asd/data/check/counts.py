"""The counts and measures of a data set as rows of text, for the screen and the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asd.data.check.check import Group, Report


class Counts(NamedTuple):
    """Headers and rows, of which the first `names` columns are text."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int


def counts(report: Report) -> Counts:
    """A row a group; of one's own recordings without what only the challenge has."""
    several = len({group.subset for group in report.groups}) > 1
    lines = [_cells(group, several) for group in report.groups]
    left_out = {"section", "hidden"} if report.own else set()
    if report.own and all(line["domain"] == "-" for line in lines):
        left_out.add("domain")
    headers = [name for name in (lines[0] if lines else ()) if name not in left_out]
    names = sum(name in ("machine", "section", "split", "domain") for name in headers)
    return Counts(headers, [[line[name] for name in headers] for line in lines], names)


def _cells(one: Group, with_subset: bool) -> dict[str, str]:
    return {
        "machine": f"{one.subset}/{one.machine}" if with_subset else one.machine,
        "section": one.section,
        "split": one.split,
        "domain": one.part,
        "clips": str(one.clips),
        "normal": str(one.normal),
        "anomaly": str(one.anomaly),
        "attributes": str(one.attributes),
        "hidden": str(one.hidden),
        "Hz": _several(one.sample_rates),
        "channels": _several(one.channels),
        "seconds": _span(one.seconds, ".2f"),
        "level in dB": _span(one.level, ".0f"),
    }


def _several(values: Iterable[int]) -> str:
    return ", ".join(map(str, values)) or "-"


def _span(ends: tuple[float, float], form: str) -> str:
    low, high = (format(end, form) for end in ends)
    return low if low == high else f"{low} to {high}"
