"""How sure a rate is: a count out of so many clips, with its exact interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVEL = 0.95
"""Of every interval that is shown."""


@dataclass(frozen=True)
class Rate:
    """A part of some clips.

    Attributes:
        count: Clips that something is true of.
        clips: Of so many.
    """

    count: float
    clips: float

    @classmethod
    def of(cls, value: float, clips: float) -> Rate:
        """The rate `value` of so many clips; of none, where nothing is behind it (nan)."""
        return cls(0, 0) if math.isnan(value) else cls(value * clips, clips)

    @property
    def value(self) -> float:
        """As a fraction; nan of no clips."""
        return self.count / self.clips if self.clips else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """See `clopper_pearson`."""
        return clopper_pearson(self.count, self.clips)

    def text(self) -> str:
        """In percent with the interval, ``12.5 (6.2 to 21.9)``; a dash of no clips."""
        if not self.clips:
            return "-"
        low, high = self.interval
        return f"{100 * self.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def clopper_pearson(count: float, clips: float, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a rate of which `count` out of `clips` were seen (Clopper and Pearson, 1934).

    Args:
        count: From 0 to `clips`; need not be whole, where clips are worth less than one each.
        clips: Independent trials; of none, nothing is known.
        level: Probability that the interval covers the rate, at least.

    Returns:
        Its ends, as fractions.

    Raises:
        ValueError: A count that is not among the clips.
    """
    from scipy.stats import beta  # not above: who decides does without

    if not 0 <= count <= clips:
        raise ValueError(f"{count} of {clips} clips")
    tail = (1 - level) / 2
    low = beta.ppf(tail, count, clips - count + 1) if count > 0 else 0.0
    high = beta.ppf(1 - tail, count + 1, clips - count) if count < clips else 1.0
    return float(low), float(high)
