"""What decisions were worth: false alarms promised and observed, and what was missed at that rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from asd.evaluation.calibration import Calibrations
from asd.evaluation.intervals import LEVEL, Rate
from asd.evaluation.metrics import SectionMetrics
from asd.evaluation.tables import Table
from asd.scoring.budget import DAY


@dataclass(frozen=True)
class Verdicts:
    """The decisions on the test clips of one domain of a machine.

    Attributes:
        machine: By the name that results go by.
        domain: ``source`` or ``target``.
        promised: Alarms of the normal clips that the threshold is set by, out of so many independent blocks of them; of
            none where that is not known.
        false_alarms: Alarms of the normal clips that were decided on.
        misses: Anomalous clips that were decided on and raised none.
        abstained: Part of the clips that lies in the band of abstention.
    """

    machine: str
    domain: str
    promised: Rate
    false_alarms: Rate
    misses: Rate
    abstained: float


def verdicts_of(results: Mapping[str, SectionMetrics], known: Calibrations | None = None) -> list[Verdicts]:
    """The verdicts of every machine and domain with decisions; none where no decision is known.

    Args:
        results: Metrics by machine.
        known: Thresholds and scores of the training clips, which promise a rate of false alarms.
    """
    found = []
    for name, one in results.items():
        own = None if known is None else known.of(name)
        for domain, made in (("source", one.source), ("target", one.target)):
            if made is None or made.normal + made.anomalous + made.abstained == 0:
                continue
            promised = Rate(0, 0) if own is None else Rate.of(own.expected(domain).rate, own.expected(domain).blocks)
            false_alarms = Rate.of(made.false_alarm_rate, made.normal)
            misses = Rate.of(1 - made.recall, made.anomalous)
            found.append(Verdicts(name, domain, promised, false_alarms, misses, made.abstained))
    return found


def together(verdicts: Sequence[Verdicts], part: Callable[[Verdicts], Rate]) -> Rate:
    """One of the rates over all these verdicts."""
    rates = [part(one) for one in verdicts]
    return Rate(sum(rate.count for rate in rates), sum(rate.clips for rate in rates))


def verdicts_table(verdicts: Sequence[Verdicts], known: Calibrations | None = None) -> Table | None:
    """By machine and domain, then all of a domain; in percent with exact intervals. ``None`` without verdicts.

    Args:
        verdicts: Those of `verdicts_of`.
        known: What they were found with: adds what was promised, and false alarms a day, were clips to follow one
            another.
    """
    if not verdicts:
        return None
    domains = list(dict.fromkeys(one.domain for one in verdicts))
    abstained = any(one.abstained for one in verdicts)

    def line(title: str, some: Sequence[Verdicts]) -> list[str]:
        false_alarms, misses = (together(some, part) for part in (lambda one: one.false_alarms, lambda one: one.misses))
        cells = [title]
        if known is not None:
            cells.append(together(some, lambda one: one.promised).text())
        cells += [false_alarms.text(), misses.text()]
        if abstained:
            cells.append(f"{100 * some[0].abstained:.1f}" if len(some) == 1 else "")
        cells += [f"{false_alarms.clips:.0f}", f"{misses.clips:.0f}"]
        if known is not None:
            daily = false_alarms.value * DAY / known.seconds
            cells.append("-" if math.isnan(daily) else f"{daily:.0f}")
        return cells

    several = len(domains) > 1
    rows = [line(f"{one.machine} {one.domain}" if several else one.machine, [one]) for one in verdicts]
    of_domains = {domain: [one for one in verdicts if one.domain == domain] for domain in domains}
    summary = [line(f"all {domain}" if several else "all", some) for domain, some in of_domains.items()]
    headers = ["verdicts", "false alarms", "misses", *(["uncertain"] if abstained else [])]
    headers += ["normal clips", "anomalous clips"]
    note = f"In percent, with exact {100 * LEVEL:.0f} % intervals."
    if known is not None:
        headers = [headers[0], "false alarms promised", *headers[1:], "false alarms a day"]
        note += " Promised: by blocks of normal clips, held out. A day: were clips to follow one another."
    return Table(headers, rows, summary if len(rows) > len(summary) else (), note)
