"""How many false alarms are allowed, as people say it: ``1/day``, ``2/week``, ``5%``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

from asd.errors import UserError

DAY = 86400.0
_TIMES = {"hour": 3600.0, "day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}


@dataclass(frozen=True)
class Budget:
    """So many false alarms in a time, or among all decisions.

    Attributes:
        count: How many; a part of all decisions, where there is no time.
        seconds: In which time; ``None``: among all decisions.
    """

    count: float
    seconds: float | None = None

    @classmethod
    def parse(cls, said: str | float) -> Self:
        """What is said by ``1/day``, ``0.5/week``, ``5%`` or 0.05.

        Raises:
            UserError: Anything else, or none at all.
        """
        form = r"\s*(\d+\.?\d*|\.\d+)\s*(%|/\s*(hour|day|week|month|year))?\s*"
        found = re.fullmatch(form, str(said))
        count = float(found[1]) / (100 if found[2] == "%" else 1) if found else 0.0
        time = _TIMES.get(found[3]) if found else None
        if count <= 0 or (time is None and count >= 1):
            raise UserError(
                f"false alarms are {said!r}; give how many in a time, such as 1/day or 0.5/week, or a part of all "
                "decisions, such as 5%"
            )
        return cls(count, time)

    def rate(self, hop: float) -> float:
        """The part of decisions, of which there is one every `hop` seconds, that may be a false alarm.

        Raises:
            UserError: It is not known how often decisions are made, or there are no more than false alarms allowed.
        """
        if self.seconds is None:
            return self.count
        rate = self.count * hop / self.seconds
        if not rate < 1:  # nor is nan
            every = "an unknown time" if math.isnan(hop) else f"{hop:g} s"
            raise UserError(
                f"{self.count:g} false alarms in {self.seconds / 3600:g} hours, with a decision every {every}: give a "
                "part of the decisions, such as 5%"
            )
        return rate
