"""How sure an official score, or the difference of two, is: resampling of the test clips.

Clips are drawn with replacement within each machine, section, domain and condition, so every resample is as balanced
as the test set. Clips cut from one recording are drawn together where the recordings are given, since they are no
independent evidence. What is drawn is how often each clip counts, so that two systems are compared on the same draws.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore, named_sections
from asd.evaluation.metrics import Flags, Rule, mean_by_rule, measure_parts, weighted_area
from asd.evaluation.tables import Table, percent
from asd.utils.pairs import first_few
from asd.utils.sheet import read_sheet

Groups = Mapping[tuple[str, str], str]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """How to resample.

    Attributes:
        resamples: Number of resamples.
        seed: Seed of the draws.
        groups: Recording of a clip by machine and clip name; a clip not in it is a recording of its own.
    """

    resamples: int = 1000
    seed: int = 0
    groups: Groups | None = None

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise UserError(f"{self.resamples} resamples are too few for an interval; take 1000, at least 100")


@dataclass(frozen=True)
class Interval:
    """An official score with its 95 % interval, as fractions."""

    score: float
    low: float
    high: float
    resamples: int

    def sentence(self) -> str:
        """For the screen, in percent."""
        return (
            f"official score {percent(self.score)}, 95 % interval {percent(self.low)} to {percent(self.high)} "
            f"({self.resamples} resamples of the test clips)"
        )

    def to_json(self) -> dict[str, Any]:
        """As fractions."""
        return {"low": self.low, "high": self.high, "level": 0.95, "resamples": self.resamples}


@dataclass(frozen=True)
class Difference:
    """Mean score of a system, of another, and the 95 % interval of the difference, as fractions."""

    ours: float
    theirs: float
    low: float
    high: float
    p_value: float

    @property
    def value(self) -> float:
        """The difference."""
        return self.ours - self.theirs


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same clips: by machine, and the official score."""

    machines: Mapping[str, Difference]
    official: Difference
    resamples: int

    def table(self) -> Table:
        """In percent."""
        named = {**self.machines, "official score": self.official}
        rows = [
            [
                name,
                percent(one.ours),
                percent(one.theirs),
                f"{100 * one.value:+.2f}",
                f"{100 * one.low:+.2f}",
                f"{100 * one.high:+.2f}",
                f"{one.p_value:.3f}",
            ]
            for name, one in named.items()
        ]
        return Table(["machine", "this", "other", "difference", "from", "to", "p"], rows[:-1], rows[-1:])

    def sentence(self) -> str:
        """For the screen, in percent."""
        clear = "differ" if self.official.low > 0 or self.official.high < 0 else "cannot be told apart on these clips"
        return (
            f"difference {100 * self.official.value:+.2f}, 95 % interval {100 * self.official.low:+.2f} to "
            f"{100 * self.official.high:+.2f} ({self.resamples} paired resamples): the systems {clear}"
        )

    def to_json(self) -> dict[str, Any]:
        """As fractions."""
        named = {name: vars(one) | {"difference": one.value} for name, one in self.machines.items()}
        official = vars(self.official) | {"difference": self.official.value}
        return {"official_score": official, "machines": named, "level": 0.95, "resamples": self.resamples}


def read_groups(path: Path) -> Groups:
    """Read the recordings of clips: a line with one field is a machine, the lines after it are ``clip,recording``.

    Raises:
        UserError: Missing, or not such a list.
    """
    groups: dict[tuple[str, str], str] = {}
    machine = ""
    if not path.is_file():
        raise UserError(f"no list of recordings {path}")
    for where, fields in read_sheet(path):
        if len(fields) == 1:
            machine = fields[0]
        elif len(fields) == 2 and machine:
            groups[machine, fields[0]] = fields[1]
        else:
            raise UserError(f"{where}: expected a machine, or `clip,recording` after a machine; got {fields}")
    return groups


def interval(rows: Sequence[ClipScore], rule: Rule = Rule.ACROSS_2022, options: Options = Options()) -> Interval:
    """The 95 % interval of the official score."""
    drawn = _draw_parts(rows, rule, options)
    point, resampled = _official(drawn, rule)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(point, float(low), float(high), options.resamples)


def by_part(rows: Sequence[ClipScore], rule: Rule, options: Options) -> dict[str, dict[str, Interval]]:
    """The 95 % intervals of the parts of each machine's score; nan where a part cannot be measured."""
    found: dict[str, dict[str, Interval]] = {}
    for name, values in _draw_parts(rows, rule, options).items():
        ends = np.quantile(values[1:], [0.025, 0.975], axis=0)
        found[name] = {
            part: Interval(float(values[0, column]), float(low), float(high), options.resamples)
            for column, (part, low, high) in enumerate(zip(rule.parts, *ends, strict=True))
        }
    return found


def compare(
    ours: Sequence[ClipScore],
    theirs: Sequence[ClipScore],
    rule: Rule = Rule.ACROSS_2022,
    options: Options = Options(),
) -> Comparison:
    """Compare two systems on the same draws of the same clips.

    Raises:
        UserError: The systems scored different clips.
    """
    names = [{f"{row.machine} section {row.section} {row.name}" for row in rows} for rows in (ours, theirs)]
    differing = sorted(names[0] ^ names[1])
    if differing:
        raise UserError(f"the two systems differ in {first_few(differing)}; compare them on the same clips")
    mine, other = _draw_parts(ours, rule, options), _draw_parts(theirs, rule, options)
    machines = {
        name: _difference(_official({name: mine[name]}, rule), _official({name: other[name]}, rule)) for name in mine
    }
    return Comparison(machines, _difference(_official(mine, rule), _official(other, rule)), options.resamples)


def _difference(ours: tuple[float, Reals], theirs: tuple[float, Reals]) -> Difference:
    drawn = ours[1] - theirs[1]
    low, high = np.quantile(drawn, [0.025, 0.975])
    # One is added so that no finite number of draws gives a probability of zero.
    tail = (min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1) / (len(drawn) + 1)
    return Difference(ours[0], theirs[0], float(low), float(high), float(min(1.0, 2 * tail)))


def _official(drawn: Mapping[str, Reals], rule: Rule) -> tuple[float, Reals]:
    """Point estimate and ``(R,)`` resampled scores; row 0 of the drawn values is the test set itself."""
    values = np.concatenate(list(drawn.values()), axis=1)
    scores = mean_by_rule(values[:, ~np.isnan(values[0])], rule, axis=1)
    return float(scores[0]), scores[1:]


def _draw_parts(rows: Sequence[ClipScore], rule: Rule, options: Options) -> dict[str, Reals]:
    """``(1 + R, parts)`` of each machine and section: the test set itself, then the resamples."""
    drawn = {}
    for name, clips in named_sections(rows).items():
        known = [clip for clip in clips if clip.condition is not None]
        if not known:
            continue
        anomalous = np.array([clip.condition == "anomaly" for clip in known])
        target = np.array([clip.domain == "target" for clip in known])
        weights = _draw_weights(known, anomalous, target, name, options)
        scores = np.array([clip.score for clip in known], dtype=np.float64)

        def area(
            chosen: Flags, limit: float | None, w: Reals = weights, a: Flags = anomalous, s: Reals = scores
        ) -> Reals:
            return weighted_area(w[:, chosen], a[chosen], s[chosen], limit)

        drawn[name] = np.stack(list(measure_parts(anomalous, target, rule, area).values()), axis=1)
    return drawn


def _draw_weights(clips: Sequence[ClipScore], anomalous: Flags, target: Flags, name: str, options: Options) -> Reals:
    """``(1 + R, N)``: ones, then how often each clip was drawn; the draws depend on the seed and the name alone."""
    groups = options.groups or {}
    recordings: dict[str, list[int]] = {}
    for position, clip in enumerate(clips):
        key = groups.get((clip.machine, clip.name))
        recordings.setdefault(f"clip {clip.name}" if key is None else f"recording {key}", []).append(position)
    strata: dict[tuple[tuple[bool, bool], ...], list[list[int]]] = {}
    for positions in recordings.values():
        kinds = sorted({(bool(target[position]), bool(anomalous[position])) for position in positions})
        strata.setdefault(tuple(kinds), []).append(positions)
    generator = np.random.default_rng([options.seed, zlib.crc32(name.encode())])
    weights = np.ones((1 + options.resamples, len(clips)))
    for _, stratum in sorted(strata.items()):
        counts = generator.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), size=options.resamples)
        for column, positions in enumerate(stratum):
            weights[1:, positions] = counts[:, [column]]
    return weights
