"""The auxiliary classes that the encoder learns to tell apart, built from training data alone."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

from asd.data.clip import Clip, Condition, Kind, Split
from asd.errors import Notice, UserError

SupplementalClasses = Literal["per_machine", "shared", "none", "off", False]
"""Classes of supplemental clips. ``off``, which YAML reads as false, is what ``none`` was called."""

_SHOWN = 4


@dataclass(frozen=True)
class ClassTable:
    """The auxiliary classes; a class's position is its label.

    A class is a machine, section and attribute string, ``fan/section_00/n_a``: attribute strings are opaque, but case
    does not count. Clips without attributes make one class per domain, ``fan/section_00/source``; with `domains`, the
    same attributes in another domain are another class, too, ``fan/section_00/source/n_a``. Clean machine sound
    and background noise make classes of their own, ``fan/clean`` and ``fan/noise`` or, shared, ``clean`` and ``noise``.

    Args:
        names: Names of the classes.
        counts: Training clips of each; empty where they are not known.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...] = field(default=(), compare=False)
    _labels: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "_labels", {name: label for label, name in enumerate(self.names)})

    def warn_of_one(self) -> None:
        """Warn where there are no two classes to tell apart."""
        if len(self.names) < 2:
            warnings.warn(
                f"there is a single auxiliary class ({', '.join(self.names) or 'none'}), so the loss is zero and the "
                "encoder learns nothing: give attributes, clean or noise recordings or more machines, or take "
                "configs/my_machine.yaml, whose autoencoder needs no classes",
                Notice,
                stacklevel=2,
            )

    @classmethod
    def build(
        cls,
        clips: Sequence[Clip],
        clean: SupplementalClasses = "per_machine",
        noise: SupplementalClasses = "per_machine",
        domains: bool = False,
    ) -> Self:
        """The classes of normal training clips and supplemental clips, sorted by name; test clips never enter.

        Args:
            clips: Clips of any split.
            clean: Classes of clean machine sound: one per machine, one shared by all, or none.
            noise: Classes of background noise, likewise.
            domains: Whether equal attributes of different domains are different classes.

        Raises:
            UserError: An unknown value of `clean` or `noise`.
        """
        modes: dict[Kind, SupplementalClasses] = {Kind.CLEAN: clean, Kind.NOISE: noise}
        for kind, given in modes.items():
            if given not in get_args(SupplementalClasses):
                raise UserError(f"{kind} classes must be per_machine, shared or none, got {given!r}")
        counts: Counter[str] = Counter()
        for clip in clips:
            mode = modes.get(clip.kind)
            name = _machine_class(clip, domains) if mode is None else _supplemental_class(clip, mode)
            if name is not None:
                counts[name] += 1
        names = tuple(sorted(counts))
        return cls(names, tuple(counts[name] for name in names))

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)

    def label(self, clip: Clip) -> int:
        """The label of a clip; -1 where it has no class: test clips, anomalies, attributes that were not trained."""
        if clip.kind == Kind.MACHINE:
            names = [_machine_class(clip, True), _machine_class(clip)]
        else:
            names = [_supplemental_class(clip, "per_machine"), _supplemental_class(clip, "shared")]
        return next((self._labels[name] for name in names if name in self._labels), -1)

    def describe(self) -> list[tuple[str, int | None]]:
        """Name and number of training clips of each class; ``None``: the number is not known."""
        return list(zip(self.names, self.counts or (None,) * len(self), strict=True))

    def origins(self) -> list[tuple[str, Kind]]:
        """Machine and kind of sound of each class; no machine, ``""``, where a class is shared by all."""
        return [_origin(name) for name in self.names]

    def check_same(self, other: ClassTable) -> None:
        """Compare with the class table that a checkpoint was trained on.

        Raises:
            UserError: They differ; names the classes that are in one of them alone.
        """
        if self.names == other.names:
            return
        here = [name for name in self.names if name not in other._labels]
        there = [name for name in other.names if name not in self._labels]
        differing = "; ".join(
            f"only in the {place}: {_some(names)}" for place, names in (("data", here), ("checkpoint", there)) if names
        )
        raise UserError(
            f"the checkpoint was trained on other classes ({differing or 'the same ones in another order'}); use its "
            "data, with the same subsets, machines, clean_class and noise_class, or train without that checkpoint"
        )


def _machine_class(clip: Clip, domains: bool = False) -> str | None:
    if clip.split != Split.TRAIN or clip.condition == Condition.ANOMALY:
        return None
    attributes = clip.attributes.casefold()
    domain = clip.domain if domains or not attributes else None
    return "/".join(filter(None, (clip.machine, f"section_{clip.section}", domain, attributes)))


def _supplemental_class(clip: Clip, mode: SupplementalClasses) -> str | None:
    if clip.split == Split.TEST or mode in ("none", "off", False):
        return None
    return str(clip.kind) if mode == "shared" else f"{clip.machine}/{clip.kind}"


def _origin(name: str) -> tuple[str, Kind]:
    # The second part of a machine's class is its section, whatever its attributes say.
    machine, _, rest = name.rpartition("/")
    if rest in (Kind.CLEAN, Kind.NOISE) and "/" not in machine:
        return machine, Kind(rest)
    return name.partition("/")[0], Kind.MACHINE


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
