"""The check of a data set as one HTML page, which needs nothing but itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asd.data.check.check import Report
from asd.data.check.counts import counts
from asd.data.check.measure import FileFacts
from asd.errors import UserError
from asd.utils.files import replace_text
from asd.utils.text import shown

_BINS, _WIDTH, _HEIGHT = 24, 220, 44
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


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
    """The page as text; the template escapes whatever it is given."""
    return _ENVIRONMENT.get_template("page.html").render(
        root=shown(str(report.root)),
        files=len(report.files),
        hours=sum(file.seconds for file in report.files) / 3600,
        faults=report.faults,
        remarks=report.remarks,
        table=counts(report),
        machines=_histograms(report.files),
        width=_WIDTH,
        height=_HEIGHT,
    )


def _histograms(files: Iterable[FileFacts]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Durations and levels by machine, on scales that all machines share."""
    of: dict[str, list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.sample_rate:
            of[file.clip.machine].append(file)
    known = [file for some in of.values() for file in some]
    seconds = _range([file.seconds for file in known])
    level = _range(_levels(known))
    return [
        (machine, _histogram([f.seconds for f in some], seconds, "s"), _histogram(_levels(some), level, "dB"))
        for machine, some in sorted(of.items())
    ]


def _levels(files: Iterable[FileFacts]) -> list[float]:
    return [file.level for file in files if np.isfinite(file.level)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _histogram(values: Sequence[float], ends: tuple[float, float], unit: str) -> dict[str, Any]:
    """Bars in pixels, with the number of files in each, and the ends of the scale."""
    counts, _ = np.histogram(values, _BINS, ends)
    wide, high = _WIDTH / _BINS, _HEIGHT / max(1, int(counts.max()))
    bars = [
        {
            "x": f"{i * wide:.1f}", "y": f"{_HEIGHT - high * n:.1f}", "width": f"{wide - 1:.1f}",
            "height": f"{high * n:.1f}", "files": n,
        }
        for i, n in enumerate(counts.tolist())
        if n
    ]  # fmt: skip
    return {"total": len(values), "bars": bars, "low": f"{ends[0]:.4g} {unit}", "high": f"{ends[1]:.4g} {unit}"}
