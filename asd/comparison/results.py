"""What a comparison found, as tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from asd.comparison.embedding import Facts
from asd.comparison.scoring import Row
from asd.evaluation.pseudo_anomalies import KINDS
from asd.evaluation.tables import Table, percent

_MEANS = ("AUC source", "AUC target", "pAUC")


@dataclass(frozen=True)
class Compared:
    """An encoder.

    Attributes:
        name: As it is told.
        facts: What its pass took; ``None``: it failed.
        rows: Its vectors and their back ends.
        failed: Why it failed; empty where it did not.
    """

    name: str
    facts: Facts | None = None
    rows: Sequence[Row] = ()
    failed: str = ""

    @property
    def title(self) -> str:
        """The name, and that its weights are random where they are."""
        random = [] if self.facts is None else self.facts.random
        if not random:
            return self.name
        parts = "" if random == [self.name.partition(":")[0]] else f": {', '.join(random)}"
        return f"{self.name} (random weights{parts})"

    @property
    def chosen(self) -> Row | None:
        """The last back end on the vector of the largest `criterion`; on the first, where nothing can be chosen."""
        last = [row for row in self.rows if not row.failed and row.back_end == self.rows[-1].back_end]
        return max(last, key=lambda row: _or_least(self.criterion(row.what)), default=None)

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts encoders: the best first, by the official score, or the pseudo-AUC without labels; failures last."""
        row = self.chosen
        if row is None:
            return True, 0.0
        return False, -_or_least(self.criterion(row.what) if row.official is None else row.official)

    def criterion(self, what: str) -> float:
        """The pseudo-AUC of a vector, the mean over back ends; nan where there is none."""
        values = [row.criterion for row in self.rows if row.what == what and not math.isnan(row.criterion)]
        return sum(values) / len(values) if values else math.nan


@dataclass(frozen=True)
class Comparison:
    """All encoders, with what they were scored by.

    Attributes:
        encoders: The encoders, in their order.
        back_ends: What each was scored with, the one that they are compared by last.
        score: What the official score is called.
    """

    encoders: Sequence[Compared]
    back_ends: Sequence[str]
    score: str = "official score"

    @property
    def failed(self) -> list[Compared]:
        """Those of which there is no result."""
        return [one for one in self.encoders if one.failed]

    @property
    def labelled(self) -> bool:
        """Whether any test clip has a label."""
        return any(row.official is not None for one in self.encoders for row in one.rows)

    def table(self) -> Table:
        """A row for each encoder, in the vector that was chosen for it without labels."""
        on_gpu = any(one.facts is not None and one.facts.gpu_bytes is not None for one in self.encoders)
        headers = ["encoder", "vector", *([self.score] if self.labelled else []), "pseudo-AUC"]
        headers += ["clips/s", "parameters", "memory", *(["GPU memory"] if on_gpu else [])]
        lines = []
        for one in self.encoders:
            row, facts = one.chosen, one.facts
            if row is None or facts is None:
                lines.append([one.title, "failed", *(["-"] * (len(headers) - 2))])
                continue
            official = [_percent(row.official)] if self.labelled else []
            line = [one.title, row.what, *official, percent(one.criterion(row.what))]
            line += [f"{facts.clips_per_second:.3g}", f"{facts.parameters / 1e6:.2f} M", _size(facts.peak_bytes)]
            lines.append([*line, *([_size(facts.gpu_bytes)] if on_gpu else [])])
        return Table(headers, lines)

    def details(self) -> Table:
        """Every vector of every encoder with every back end: official scores, or without labels pseudo-AUC."""
        short = [name.partition("(")[0] for name in self.back_ends]
        named = [full if short.count(name) > 1 else name for full, name in zip(self.back_ends, short, strict=True)]
        lines = []
        for one in self.encoders:
            for what in dict.fromkeys(row.what for row in one.rows):
                rows = {row.back_end: row for row in one.rows if row.what == what}
                values = [rows[name] for name in self.back_ends]
                shown = [_percent(row.official) if self.labelled else percent(row.criterion) for row in values]
                lines.append([f"{one.name}: {what}", *shown])
        return Table([self.score if self.labelled else "pseudo-AUC", *named], lines)

    def remarks(self) -> list[str]:
        """What the order follows, and what was left out, a sentence each."""
        by = "labels of the test clips" if self.labelled else "pseudo-AUC: no test clip has a known label"
        said = [
            f"The order follows the {by}. Compared by {self.back_ends[-1].partition('(')[0]}; the vector of each "
            "encoder is chosen by its pseudo-AUC, the mean over the back ends, without any test clip."
        ]
        if not any(row.pseudo for one in self.encoders for row in one.rows):
            said.append("No pseudo-AUC: too few recordings to hold any out; the first vector stands for each encoder.")
        for one in self.encoders:
            facts = one.facts
            if facts is not None and facts.missing:
                said.append(f"{one.name} has no {', '.join(facts.missing)}: it does not return these layers.")
            said += [f"{one.name}: {row.what}, {row.back_end} left out: {row.failed}" for row in one.rows if row.failed]
            said += [f"{one.name} failed: {one.failed}"] if one.failed else []
        most = max((one.facts.beside for one in self.encoders if one.facts is not None), default=1)
        if most > 1:
            said.append(f"Clips a second were counted while up to {most} encoders shared the machine.")
        return said

    def csv(self) -> str:
        """A line for each encoder, vector and back end, in percent and bytes; one for an encoder that failed."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        costs = ("clips/s", "parameters", "memory bytes", "GPU bytes", "device")
        write(["encoder", "random weights", "vector", "back end", "chosen", self.score, *_MEANS, "pseudo-AUC", *KINDS,
               *costs, "failed"])  # fmt: skip
        for one in self.encoders:
            facts = one.facts
            random = "" if facts is None else " ".join(facts.random)
            cost = [""] * len(costs)
            if facts is not None:
                found = (
                    f"{facts.clips_per_second:.6g}",
                    facts.parameters,
                    facts.peak_bytes,
                    facts.gpu_bytes,
                    facts.device,
                )
                cost = ["" if value is None else str(value) for value in found]
            if one.failed:
                write([one.name, random, *[""] * (8 + len(KINDS)), *cost, one.failed])
                continue
            for row in one.rows:
                values = [_percent(row.official), *(row.means or ["-"] * len(_MEANS)), percent(row.criterion)]
                values += [percent(row.pseudo.get(kind, math.nan)) for kind in KINDS]
                chosen = "yes" if row is one.chosen else ""
                write([one.name, random, row.what, row.back_end, chosen, *values, *cost, row.failed])
        return text.getvalue()


def _or_least(value: float) -> float:
    return -1.0 if math.isnan(value) else value


def _percent(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.2f} GB"
