"""The noun of this field: a machine and its section, whose clips are scored together."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from asd.errors import UserError
from asd.utils.text import machine_word

_MARK = "_section_"


class MachineSection(NamedTuple):
    """A machine and one of its sections.

    Attributes:
        machine: Machine type, such as ``fan``.
        section: Two digits, as in file names; empty for a name that tells none.
    """

    machine: str
    section: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``fan_section_00`` says; a machine alone has an empty section."""
        machine, mark, section = text.rpartition(_MARK)
        return cls(machine, section) if mark else cls(text, "")

    def __str__(self) -> str:
        """As in score files and checkpoints: ``fan_section_00``."""
        return f"{self.machine}{_MARK}{self.section}" if self.section else self.machine


class _Placed(Protocol):
    @property
    def machine_section(self) -> MachineSection: ...


def sections_of(clips: Iterable[_Placed]) -> list[MachineSection]:
    """The machines and sections of clips, once each, in the order of their names."""
    return sorted({clip.machine_section for clip in clips}, key=str)


def titles(sections: Sequence[MachineSection]) -> dict[MachineSection, str]:
    """What each is called in tables: by its machine alone, where that has one section."""
    times = Counter(section.machine for section in sections)
    return {section: section.machine if times[section.machine] == 1 else str(section) for section in sections}


def find(asked: str | None, known: Sequence[MachineSection]) -> int:
    """Where the machine that a user names is among the `known`.

    Args:
        asked: ``fan_section_00``, or ``fan`` where it has one section; ``None`` where a single one is known.
        known: Those that there are.

    Raises:
        UserError: None named where there are several, or one that is not there; lists those that are.
    """
    shown = ", ".join(titles(known).values()) or "none"
    if asked is None:
        if len(known) == 1:
            return 0
        raise UserError(f"name the machine, one of {shown}")
    word = machine_word(asked)
    named = [number for number, section in enumerate(known) if str(section) in (asked, word)]
    named = named or [number for number, section in enumerate(known) if section.machine == word]
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(f"{word} has several sections: {', '.join(str(known[number]) for number in named)}; name one")
    machines = list(dict.fromkeys(section.machine for section in known))
    near = difflib.get_close_matches(word, [*machines, *map(str, known)], n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"the detector does not know {word!r}.{guess} It knows {', '.join(machines) or 'none'}")
