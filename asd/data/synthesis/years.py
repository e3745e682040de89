"""What the challenge's years differ in, as far as synthesised data have it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Year:
    """How the data of a year are.

    Attributes:
        stereo: Whether a near microphone is the first channel and a far one the second.
        supplemental: Supplemental clips per machine, where nobody asks for another number.
        hidden: Machines without attributes, in names and attribute file.
        lengths: Of clips, in parts of the length that is asked for; each machine has one of them, in turn.
    """

    stereo: bool
    supplemental: int
    hidden: frozenset[str]
    lengths: tuple[float, ...]


YEARS = {
    2025: Year(False, 40, frozenset({"bearing", "slider"}), (1.0,)),
    # Clips of 10, 11 and 12 s. Without attributes were also ToothBrush and SewingMachine, which are not synthesised.
    2026: Year(True, 0, frozenset({"ToyCar", "bearing", "slider", "valve"}), (1.0, 1.1, 1.2)),
}
