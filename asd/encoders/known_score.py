"""Official scores of encoders: what somebody measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class KnownScore:
    """An official score of an encoder.

    Attributes:
        value: Percent.
        state: Whether the encoder was ``frozen``, ``tuned`` on the machines' training clips, or ``trained`` on them
            from random weights.
        on: What was scored: machines, or year and set of the challenge.
        source: How it was scored, and by whom.
    """

    value: float
    state: Literal["frozen", "tuned", "trained"]
    on: str
    source: str

    def __str__(self) -> str:
        return f"{self.state} {self.value:.2f} ({self.on})"
