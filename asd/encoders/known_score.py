"""Official scores of published encoders: what somebody measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class KnownScore:
    """An official score of an encoder with published weights.

    Attributes:
        value: Percent.
        state: Whether the encoder was ``frozen``, or ``tuned`` on the machines' training clips.
        on: What was scored: machines, or year and set of the challenge.
        source: How it was scored, and by whom.
    """

    value: float
    state: Literal["frozen", "tuned"]
    on: str
    source: str

    def __str__(self) -> str:
        return f"{self.state} {self.value:.2f} ({self.on})"
