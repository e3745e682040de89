"""Results as tables for the screen, Markdown and LaTeX; in percent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asd.evaluation.calibration import Calibrations
from asd.evaluation.metrics import Rule, SectionMetrics, mean_by_rule, official_score, rule_of
from asd.utils.columns import columns

_TITLES = {
    "auc_source": "AUC source",
    "auc_target": "AUC target",
    "pauc": "pAUC",
    "auc": "AUC",
    "pauc_source": "pAUC source",
    "pauc_target": "pAUC target",
}

_ABSTAINED = 7  # the column of the decisions' table that is left out where no clip lies in a band of abstention


@dataclass(frozen=True)
class Table:
    """Rows of cells under headers; the first column is text, the others are numbers.

    Attributes:
        headers: Titles of the columns.
        rows: One row per machine.
        summary: Rows below a rule.
        note: Sentences below the table.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: Sequence[Sequence[str]] = ()
    note: str = ""

    def text(self) -> str:
        """Aligned columns for a screen."""
        return self.render("table")

    def render(self, style: str) -> str:
        """The table as ``table``, ``markdown`` or ``latex``."""
        note = {"table": self.note, "markdown": f"\n{self.note}", "latex": f"% {self.note}"}[style]
        shown = columns(self.headers, self.rows, self.summary, style)
        return f"{shown}\n{note}" if self.note else shown


def percent(value: float, digits: int = 2) -> str:
    """A fraction in percent; a dash where it is not measurable."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f}"


def metrics_table(results: Mapping[str, SectionMetrics]) -> Table:
    """The parts of the official score of every machine, their means, and the official score."""
    rule = rule_of(results)
    parts = rule.parts
    rows = [[name, *(percent(one.parts[part]) for part in parts)] for name, one in results.items()]
    means = []
    for part in parts:
        values = np.array([one.parts[part] for one in results.values()], dtype=np.float64)
        known = values[~np.isnan(values)]
        means.append(percent(float(mean_by_rule(known, rule))) if len(known) else "-")
    kind = "arithmetic mean" if rule == Rule.IDS_2020 else "harmonic mean"
    summary = [[kind, *means], ["official score", percent(official_score(results)), *("" for _ in parts[1:])]]
    missing = sum(math.isnan(value) for one in results.values() for value in one.parts.values())
    note = ""
    if missing:
        total = len(results) * len(parts)
        note = f"{missing} of {total} values cannot be measured on these clips and are left out of the means."
    return Table(["machine", *(_TITLES[part] for part in parts)], rows, summary, note)


def decisions_table(results: Mapping[str, SectionMetrics], known: Calibrations | None = None) -> Table | None:
    """Precision, recall, F1 and false alarms by machine and domain; ``None`` where no decision is known.

    Args:
        results: Metrics by machine.
        known: Thresholds and scores of the training clips: adds the false alarms to be expected, the training clips
            behind them, and the observed false alarms an hour, were clips to follow one another.
    """
    rows = []
    abstained = False
    for name, one in results.items():
        for domain, made in (("source", one.source), ("target", one.target)):
            if made is None or made.normal + made.anomalous + made.abstained == 0:
                continue
            abstained = abstained or made.abstained > 0
            values = [percent(value) for value in (made.precision, made.recall, made.f1, made.false_alarm_rate)]
            row = [f"{name} {domain}", *values, str(made.normal), str(made.anomalous), percent(made.abstained)]
            own = None if known is None else known.of(name)
            if known is not None:
                expected = None if own is None else own.expected(domain)
                rate, clips = (math.nan, 0) if expected is None else (expected.rate, expected.clips)
                hourly = made.false_alarm_rate * 3600 / known.seconds
                row += [percent(rate), str(clips), "-" if math.isnan(hourly) else f"{hourly:.1f}"]
            rows.append(row)
    if not rows:
        return None
    headers = ["decisions", "precision", "recall", "F1", "false alarms", "normal clips", "anomalous clips", "abstained"]
    headers += [] if known is None else ["expected false alarms", "training clips", "false alarms an hour"]
    if not abstained:
        rows = [[cell for place, cell in enumerate(row) if place != _ABSTAINED] for row in rows]
        headers.pop(_ABSTAINED)
    return Table(headers, rows)
