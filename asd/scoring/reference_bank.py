"""The embeddings of normal clips that scorers are fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from asd.errors import Notice, UserError
from asd.machine import MachineSection
from asd.scoring.blocks import blocks_of
from asd.scoring.in_parts import are_finite, parts, section


class ReferenceClip(Protocol):
    """What a bank has to know of a clip."""

    @property
    def name(self) -> str:
        """Of its file."""

    @property
    def attributes(self) -> str:
        """Its attribute string; empty where hidden or absent."""

    @property
    def machine_section(self) -> MachineSection:
        """The machine and section."""

    @property
    def domain(self) -> str | None:
        """``target`` for a clip of the target domain."""

    @property
    def group(self) -> str:
        """Equal for clips of one recording; empty for a clip that is a recording of its own."""

    @property
    def calibration(self) -> bool:
        """Whether thresholds are set by it, because the encoder was not trained on it."""


@dataclass(frozen=True)
class Bank:
    """Reference embeddings, sorted by the index of their clips.

    Attributes:
        embeddings: ``(N, E)`` float32.
        section: ``(N,)`` int64 number of the machine and section.
        target: ``(N,)`` bool, true where the clip is of the target domain.
        group: ``(N,)`` int64, equal for clips of one recording.
        index: ``(N,)`` int64 row of the clip in its data set.
        facts: Name and attributes of each clip; empty where not known.
        spectra: ``(N, F)`` level of each frequency as `asd.scoring.spectrum.mean_level` has it; ``None``: not known.
        calibration: ``(N,)`` bool, true where thresholds are set by the clip; ``None``: they are set by all.
        block: ``(N,)`` int64, equal for clips that are held out together; ``None``: as `asd.scoring.blocks` finds them.
    """

    embeddings: Tensor
    section: Tensor
    target: Tensor
    group: Tensor
    index: Tensor
    facts: tuple[tuple[str, str], ...] = ()
    spectra: Tensor | None = None
    calibration: Tensor | None = None
    block: Tensor | None = None

    @classmethod
    def build(
        cls,
        embeddings: Tensor,
        clips: Sequence[ReferenceClip],
        names: Sequence[str],
        index: Tensor | None = None,
        spectra: Tensor | None = None,
    ) -> Self:
        """The bank of the `clips`.

        Args:
            embeddings: ``(N, E)``.
            clips: The ``N`` clips.
            names: Names of the machines and sections, in the order of their numbers.
            index: ``(N,)`` rows of the clips in their data set; ``None``: from 0 on.
            spectra: ``(N, F)`` levels of their frequencies; ``None``: not known.
        """
        numbers = {name: number for number, name in enumerate(names)}
        groups = {name: number for number, name in enumerate(sorted({clip.group for clip in clips if clip.group}))}
        return cls(
            embeddings=embeddings,
            section=torch.tensor([numbers[str(clip.machine_section)] for clip in clips], dtype=torch.int64),
            target=torch.tensor([clip.domain == "target" for clip in clips], dtype=torch.bool),
            # A clip that is a recording of its own gets a number of its own, beyond those of the shared recordings.
            group=torch.tensor(
                [groups.get(clip.group, len(groups) + row) for row, clip in enumerate(clips)], dtype=torch.int64
            ),
            index=torch.arange(len(clips)) if index is None else index,
            facts=tuple((clip.name, clip.attributes) for clip in clips),
            spectra=spectra,
            calibration=torch.tensor([clip.calibration for clip in clips], dtype=torch.bool),
        )

    @property
    def judged(self) -> Tensor:
        """``(N,)`` bool: the clips that thresholds are set by, which are all where none is kept for it."""
        if self.calibration is None or not bool(self.calibration.any()):
            return torch.ones_like(self.target)
        return self.calibration

    def check(self, names: Sequence[str]) -> None:
        """Raise `UserError` where a section has no clip, or an embedding that is not finite."""
        finite = are_finite(self.embeddings)
        for number, name in enumerate(names):
            rows = finite[self.section == number]
            if len(rows) == 0:
                raise UserError(f"{name}: no normal training clips to fit a scorer on")
            bad = int((~rows).sum())
            if bad:
                raise UserError(
                    f"{name}: {bad} of {len(rows)} embeddings of normal clips are not finite; lower the learning rate "
                    "or train in float32 (trainer.precision)"
                )

    def warn(self, names: Sequence[str]) -> None:
        """Warn of sections that can be fitted on but teach little: a single clip, or clips that are all the same."""
        for number, name in enumerate(names):
            rows = torch.nonzero(self.section == number).flatten()
            if len(rows) == 1:
                text = "a single normal clip: any other clip is an alarm; give it more"
            elif len(rows) > 1 and self._are_same(rows):
                text = f"the embeddings of all {len(rows)} normal clips are the same: look for silent or repeated files"
            else:
                continue
            warnings.warn(f"{name}: {text}", Notice, stacklevel=3)

    def _are_same(self, rows: Tensor) -> bool:
        first = self.embeddings[rows[0]]
        return all(bool((some == first).all()) for _, some in parts(self.embeddings, rows))

    def of(self, number: int) -> Bank:
        """The rows of one section."""
        rows = torch.nonzero(self.section == number).flatten()
        return Bank(
            section(self.embeddings, rows),
            self.section[rows],
            self.target[rows],
            self.group[rows],
            self.index[rows],
            tuple(self.facts[row] for row in rows.tolist()) if self.facts else (),
            None if self.spectra is None else self.spectra[rows],
            None if self.calibration is None else self.calibration[rows],
            None if self.block is None else self.block[rows],
        )

    def to(self, device: torch.device) -> Bank:
        """The same on a device."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        moved: dict[str, Any] = {name: one.to(device) for name, one in values.items() if isinstance(one, Tensor)}
        return replace(self, **moved)

    def blocks(self) -> Tensor:
        """The block ``(N,)`` of each clip of one section."""
        if self.block is not None:
            return self.block
        return blocks_of(self.embeddings, self.group, self.target, [attributes for _, attributes in self.facts])

    def with_more(self, new: Bank, alone: bool) -> Bank:
        """These clips of one section and more of them, which are of the target domain.

        Args:
            new: Clips of another place or day.
            alone: Thresholds are set by the new ones alone, whose blocks are theirs: what the old ones resemble does
                not matter. Else by those that set them before as well, with blocks among all.
        """
        first = int(self.group.max()) + 1
        added = torch.ones_like(new.target)
        return Bank(
            embeddings=torch.cat([self.embeddings, new.embeddings]),
            section=torch.cat([self.section, torch.full_like(new.section, int(self.section[0]))]),
            target=torch.cat([self.target, added]),
            group=torch.cat([self.group, first + new.group]),
            index=torch.arange(len(self.index) + len(new.index)),
            facts=(*self.facts, *new.facts) if self.facts and new.facts else (),
            calibration=torch.cat([torch.zeros_like(self.target) if alone else self.judged, added]),
            block=torch.cat([self.group, first + new.blocks()]) if alone else None,
        )
