"""The part of a report that comes first: false alarms promised and observed, what is missed, and the thresholds."""

from __future__ import annotations

from asd.evaluation import clip_scores
from asd.evaluation.intervals import Rate
from asd.evaluation.tables import Table
from asd.evaluation.verdicts import Verdicts, together, verdicts_of, verdicts_table
from asd.machine import MachineSection, titles
from asd.report.gather import Run
from asd.report.html import Block, Score


def numbers(run: Run) -> list[Score]:
    """False alarms of each domain against what was promised, and misses, over all machines."""
    found = _found(run)
    domains = list(dict.fromkeys(one.domain for one in found))
    shown = []
    for domain in domains:
        some = [one for one in found if one.domain == domain]
        where = f", {domain} domain" if len(domains) > 1 else ""
        promised = together(some, lambda one: one.promised)
        text = f"false alarms{where}, in percent of the normal clips"
        shown.append((together(some, lambda one: one.false_alarms), text, promised))
    shown.append((together(found, lambda one: one.misses), "misses, in percent of the anomalous clips", Rate(0, 0)))
    return [_score(rate, text, promised) for rate, text, promised in shown if rate.clips]


def _score(rate: Rate, text: str, promised: Rate) -> Score:
    low, high = rate.interval
    text = f"{text}; 95 % interval {100 * low:.1f} to {100 * high:.1f}, of {rate.clips:.0f} clips"
    if promised.clips:
        low, high = promised.interval
        text += f"; promised: {100 * promised.value:.1f}, interval {100 * low:.1f} to {100 * high:.1f}"
    return Score(f"{100 * rate.value:.1f}", text)


def section(run: Run) -> list[Block]:
    """Verdicts by machine, and the thresholds they stand on."""
    shown = [verdicts_table(_found(run), run.known), _thresholds(run)]
    blocks: list[Block] = [one for one in shown if one is not None]
    return blocks or ["No thresholds are kept; they come with `asd test`."]


def _found(run: Run) -> list[Verdicts]:
    return verdicts_of(clip_scores.measure(run.labelled), run.known) if run.labelled else []


def _thresholds(run: Run) -> Table | None:
    if run.known is None or not run.known.machines:
        return None
    known = run.known.machines
    of = titles([MachineSection.parse(name) for name in known])
    domains = [domain for domain in ("source", "target") if any(one.expected(domain).clips for one in known.values())]
    lines = []
    for name, one in known.items():
        rates = [one.expected(domain) for domain in domains]
        cells = [cell for rate in rates for cell in (Rate.of(rate.rate, rate.blocks).text(), str(rate.clips))]
        lines.append([of[MachineSection.parse(name)], f"{one.threshold:.4g}", *cells])
    named = [f", {domain}" for domain in domains] if len(domains) > 1 else [""]
    columns = [text for word in named for text in (f"false alarms promised{word}", f"normal clips{word}")]
    return Table(["machine", "threshold", *columns[: 2 * len(domains)]], lines)
