"""The check of a data set as one HTML page, which needs nothing but itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from asd.data.check.check import Group, Report
from asd.data.check.measure import FileFacts
from asd.errors import UserError
from asd.utils.files import replace_text
from asd.utils.text import shown

_BINS, _WIDTH, _HEIGHT = 24, 220, 44
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:1300px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
.verdict{display:inline-block;padding:.2rem .7rem;border-radius:1rem;font-weight:600}
.good{background:#d9f0e0;color:#14532d}.bad{background:#fbdcd9;color:#7f1d1d}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid #e3e8ee}
th{font-weight:600;color:#516071;background:#f6f8fa}.text{text-align:left}
li{overflow-wrap:anywhere;margin:.2rem 0}.scroll{overflow-x:auto}svg text{font-size:10px;fill:#516071}
"""


def write_page(path: Path, report: Report) -> Path:
    """Write the page, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    try:
        replace_text(path, page(report))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another file") from error
    return path


def page(report: Report) -> str:
    """The page as text."""
    hours = sum(file.seconds for file in report.files) / 3600
    faults = len(report.faults)
    verdict = f'<span class="verdict bad">{faults} to mend</span>' if faults else _good("nothing to mend")
    parts = [
        f"<h1>Data set {escape(shown(str(report.root)))}</h1>",
        f"<p>{len(report.files)} files, {hours:.2f} hours {verdict}</p>",
        *_list("To mend", report.faults),
        "<h2>Machines</h2>",
        _table(report.groups),
        "<h2>Durations and levels</h2>",
        _histograms(report.files),
        *_list("Worth knowing", report.remarks),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Check of {escape(shown(str(report.root)))}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _good(text: str) -> str:
    return f'<span class="verdict good">{text}</span>'


def _list(title: str, lines: Sequence[str]) -> list[str]:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return [f"<h2>{title} ({len(lines)})</h2><ul>{items}</ul>"] if lines else []


def _table(groups: Iterable[Group]) -> str:
    head = (
        "subset", "machine", "section", "split", "domain", "clips", "normal", "anomaly", "attributes", "hidden", "Hz",
        "channels", "seconds", "level in dB",
    )  # fmt: skip
    rows = [
        (
            one.subset, one.machine, one.section, one.split, one.part, one.clips, one.normal, one.anomaly,
            one.attributes, one.hidden, _several(one.sample_rates), _several(one.channels),
            _span(one.seconds, ".2f"), _span(one.level, ".0f"),
        )
        for one in groups
    ]  # fmt: skip
    cells = "".join(f"<tr>{''.join(_cell(i, one) for i, one in enumerate(row))}</tr>" for row in rows)
    names = "".join(f'<th class="{"text" if i < 5 else ""}">{name}</th>' for i, name in enumerate(head))
    return f'<div class="scroll"><table><tr>{names}</tr>{cells}</table></div>'


def _cell(column: int, value: object) -> str:
    return f'<td class="{"text" if column < 5 else ""}">{escape(str(value))}</td>'


def _several(values: Iterable[int]) -> str:
    return ", ".join(map(str, values)) or "-"


def _span(ends: tuple[float, float], form: str) -> str:
    low, high = (format(end, form) for end in ends)
    return low if low == high else f"{low} to {high}"


def _histograms(files: Iterable[FileFacts]) -> str:
    """Durations and levels by machine, on scales that all machines share."""
    of: dict[str, list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.sample_rate:
            of[file.clip.machine].append(file)
    known = [file for some in of.values() for file in some]
    if not known:
        return "<p>No file can be read.</p>"
    seconds = _range([file.seconds for file in known])
    level = _range([file.level for file in known if np.isfinite(file.level)])
    rows = [
        f'<tr><td class="text">{escape(machine)}</td><td>{_bars([f.seconds for f in some], seconds, "s")}</td>'
        f"<td>{_bars([f.level for f in some if np.isfinite(f.level)], level, 'dB')}</td></tr>"
        for machine, some in sorted(of.items())
    ]
    return (
        '<table><tr><th class="text">machine</th><th class="text">duration</th>'
        f'<th class="text">RMS level</th></tr>{"".join(rows)}</table>'
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _bars(values: Sequence[float], ends: tuple[float, float], unit: str) -> str:
    counts, _ = np.histogram(values, _BINS, ends)
    top = max(1, int(counts.max()))
    wide = _WIDTH / _BINS
    bars = "".join(
        f'<rect x="{i * wide:.1f}" y="{_HEIGHT - _HEIGHT * n / top:.1f}" width="{wide - 1:.1f}" '
        f'height="{_HEIGHT * n / top:.1f}" fill="#3b76b5"><title>{n} files</title></rect>'
        for i, n in enumerate(counts)
        if n
    )
    low, high = (f"{end:.4g} {unit}" for end in ends)
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT + 14}" role="img" aria-label="{len(values)} values">{bars}'
        f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}" stroke="#9aa7b5"/>'
        f'<text x="0" y="{_HEIGHT + 12}">{low}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 12}" text-anchor="end">{high}</text></svg>'
    )
