"""The first hours at a new place: what is heard there is normal, and sets the limits."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import torch
from torch import Tensor

from asd.errors import UserError
from asd.inference.detector import Detector
from asd.inference.hearing import bank_from
from asd.inference.recalibration import Calibrated

_MOST = 4096
"""Windows that are kept; of more every second one is, spread evenly."""
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """Seconds of ``90s``, ``30min``, ``24h`` or ``7d``.

    Raises:
        UserError: Anything else, or no time at all.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(s|min|h|d)\s*", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise UserError(f"{text!r} is no time; give one such as 30min, 24h or 7d")
    return seconds


class Commission:
    """Listens to normal sound for a time, in bounded memory; then the limits follow from it.

    Args:
        detector: The detector, whose limits it sets in the end.
        number: Of the machine and section.
        seconds: How long it listens.
        false_alarms: How many are allowed from then on, see `asd.scoring.budget.Budget`.
        add: Take what is heard into the references as well.
    """

    def __init__(
        self, detector: Detector, number: int, seconds: float, false_alarms: str | float, add: bool = True
    ) -> None:
        self.detector, self.number, self.seconds = detector, number, seconds
        self.false_alarms, self.add = false_alarms, add
        self._kept: list[tuple[float, str, Tensor]] = []
        self._every = 1
        self._heard = 0
        self._first = math.nan

    @property
    def windows(self) -> int:
        """How many were heard."""
        return self._heard

    def push(self, at: float, window: Tensor, file: str = "") -> bool:
        """Take the window ``(T,)`` that begins at `at` seconds, of that file; returns whether the time is over.

        The window after whose beginning it is over is not taken.
        """
        if math.isnan(self._first):
            self._first = at
        if at - self._first >= self.seconds:
            return True
        if self._heard % self._every == 0:
            self._kept.append((at, file, self.detector.embed([window])[0]))
        self._heard += 1
        if len(self._kept) > _MOST:
            self._kept, self._every = self._kept[::2], 2 * self._every
        return False

    def finished(self) -> Calibrated:
        """Set the limits of the detector; returns what follows for the machine.

        Raises:
            UserError: Too little was heard: a single stretch, of which nothing can be held out.
        """
        files = sorted({file for _, file, _ in self._kept})
        places = [(files.index(file), at) for at, file, _ in self._kept]
        facts = [(f"{file} at {at:g} s", "") for at, file, _ in self._kept]
        embeddings = torch.stack([embedding for _, _, embedding in self._kept])
        bank = bank_from(embeddings, places, facts, self.detector.cut.seconds)
        if len(bank.group.unique()) < 2:
            raise UserError(
                f"{self._heard} windows were heard while it was commissioned, too few to set limits by; listen longer"
            )
        found = self.detector.calibrate_by(self.number, bank, self.false_alarms, self.add)
        return replace(found, windows=self._heard, recordings=len(files))
