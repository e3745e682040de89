"""Results as tables for the screen, Markdown and LaTeX; in percent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asd.evaluation.metrics import Rule, SectionMetrics, harmonic_mean, mean_by_rule, official_score, rule_of
from asd.utils.columns import columns

_TITLES = {
    "auc_source": "AUC source",
    "auc_target": "AUC target",
    "pauc": "pAUC",
    "auc": "AUC",
    "pauc_source": "pAUC source",
    "pauc_target": "pAUC target",
}


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


def metrics_table(results: Mapping[str, SectionMetrics], own: bool = False) -> Table:
    """The parts of the official score of every machine, their means, and the official score.

    Of one's `own` recordings the score is called that of the ranking, and what none of them has is left out.
    """
    rule = rule_of(results)
    parts = [part for part in rule.parts if not own or any(not math.isnan(one.parts[part]) for one in results.values())]
    titles = {**_TITLES, "auc_source": "AUC"} if own and "auc_target" not in parts else _TITLES
    rows = [[name, *(percent(one.parts[part]) for part in parts)] for name, one in results.items()]
    means = []
    for part in parts:
        values = np.array([one.parts[part] for one in results.values()], dtype=np.float64)
        known = values[~np.isnan(values)]
        means.append(percent(float(mean_by_rule(known, rule))) if len(known) else "-")
    kind = "arithmetic mean" if rule == Rule.IDS_2020 else "harmonic mean"
    title = "ranking score" if own else "official score"
    summary = [[kind, *means], [title, percent(official_score(results)), *("" for _ in parts[1:])]]
    missing = sum(math.isnan(one.parts[part]) for one in results.values() for part in parts)
    note = ""
    if missing:
        total = len(results) * len(parts)
        note = f"{missing} of {total} values cannot be measured on these clips and are left out of the means."
    return Table(["machine", *(titles[part] for part in parts)], rows, summary, note)


def decisions_table(results: Mapping[str, SectionMetrics]) -> Table | None:
    """Precision, recall and F1 by machine and domain, and the official F1; ``None`` where no decision is known.

    What F1 would be, were every clip called anomalous, stands below: an F1 says little without it.
    """
    made = {
        f"{name} {domain}": found
        for name, one in results.items()
        for domain, found in (("source", one.source), ("target", one.target))
        if found is not None and found.normal + found.anomalous > 0
    }
    if not made:
        return None
    rows = [[name, *(percent(value) for value in (one.precision, one.recall, one.f1))] for name, one in made.items()]
    measured = [one for one in made.values() if one.anomalous]
    if not measured:
        return Table(["decisions", "precision", "recall", "F1"], rows)
    every = [2 * one.anomalous / (2 * one.anomalous + one.normal) for one in measured]
    official, idle = (float(harmonic_mean(np.array(ones))) for ones in ([one.f1 for one in measured], every))
    summary = [["official F1", "", "", percent(official)]]
    note = f"The official F1 is a harmonic mean. Calling every clip anomalous gives {percent(idle)}."
    return Table(["decisions", "precision", "recall", "F1"], rows, summary, note)
