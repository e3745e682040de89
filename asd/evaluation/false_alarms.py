"""The false alarms that normal clips let expect, and what so few of them can promise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from asd.evaluation.intervals import clopper_pearson
from asd.scoring.budget import DAY, Budget


@dataclass(frozen=True)
class FalseAlarms:
    """The rate of false alarms that normal clips let expect.

    Attributes:
        rate: Mean over blocks of the part of clips that are an alarm; nan without clips.
        low: Lower end of its exact interval, of 95 %, with as many trials as there are blocks.
        high: Upper end of it.
        blocks: Independent blocks that the clips make.
        clips: How many there are.
    """

    rate: float
    low: float
    high: float
    blocks: int
    clips: int

    @classmethod
    def of(cls, alarms: Sequence[bool], block: Sequence[int]) -> Self:
        """Of clips of which each is an alarm or none, and of the block of that number."""
        blocks: dict[int, list[bool]] = defaultdict(list)
        for alarm, number in zip(alarms, block, strict=True):
            blocks[number].append(alarm)
        count = sum(sum(own) / len(own) for own in blocks.values())
        rate = count / len(blocks) if blocks else math.nan
        return cls(rate, *clopper_pearson(count, len(blocks)), len(blocks), len(alarms))

    def daily(self, hop: float) -> tuple[float, float, float]:
        """False alarms a day, and both ends of their interval, with a decision every `hop` seconds."""
        return self.rate * DAY / hop, self.low * DAY / hop, self.high * DAY / hop

    def line(self, hop: float) -> str:
        """The same in words, with a decision every `hop` seconds."""
        if not self.blocks:
            return "nothing is known of false alarms"
        if math.isnan(hop):
            several = (f"{100 * one:.3g}" for one in (self.rate, self.low, self.high))
            unit = " %"
        else:
            several, unit = (f"{one:,.0f}" if one >= 10 else f"{one:.2g}" for one in self.daily(hop)), " a day"
        rate, low, high = several
        return (
            f"false alarms: {rate}{unit} expected, {low} to {high} by {self.blocks} independent blocks of "
            f"{self.clips} clips"
        )

    def unkept(self, asked: str | float | None, hop: float) -> str:
        """What must be said of a budget that so few blocks cannot promise; empty where they can."""
        best = clopper_pearson(0, self.blocks)[1]
        if asked is None or not self.blocks or Budget.parse(asked).rate(hop) >= best:
            return ""
        return (
            f"{asked} was asked for: {self.blocks} independent blocks without any false alarm could promise no less "
            f"than {100 * best:.2g} %, {best * DAY / hop:,.0f} a day; recordings of other days and loads tell more"
        )
