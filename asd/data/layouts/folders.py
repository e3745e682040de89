"""Where the machines of a data set lie, and where the user may have meant."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from asd.data.clip import Domain, Split
from asd.data.layouts.names import EXPECTED
from asd.data.layouts.own_folders import machines_in
from asd.errors import UserError
from asd.utils.text import machine_word

SUBSETS = ("dev_data", "eval_data")
FOLDERS: dict[str, tuple[Split, Domain | None]] = {
    "train": (Split.TRAIN, None),
    "test": (Split.TEST, None),
    "source_test": (Split.TEST, Domain.SOURCE),
    "target_test": (Split.TEST, Domain.TARGET),
    "supplemental": (Split.SUPPLEMENTAL, None),
}
"""Folders of a machine, with the split and, for the tests of 2021, the domain that they stand for."""


def choose_machines(asked: Sequence[str] | None, there: Collection[str], place: str) -> set[str]:
    """The machines that were asked for; ``None``: all that are there.

    Raises:
        UserError: None asked for, or one that is not there.
    """
    if asked is None:
        return set(there)
    known = ", ".join(sorted(there))
    if not asked:
        raise UserError(f"no machine asked for; in {place}: {known}")
    asked = [machine_word(machine) for machine in asked]
    for machine in asked:
        if machine not in there:
            folded = {name.casefold(): name for name in sorted(there)}
            near = difflib.get_close_matches(machine.casefold(), folded, n=1)
            guess = f" Did you mean {folded[near[0]]}?" if near else ""
            raise UserError(f"unknown machine {machine!r}.{guess} In {place}: {known}")
    return set(asked)


def subsets_there(root: Path) -> list[str]:
    """Folders of `root` that hold a ``raw`` folder, sorted."""
    return sorted(one.name for one in root.iterdir() if (one / "raw").is_dir()) if root.is_dir() else []


def challenge_subsets(root: Path) -> list[str]:
    """Those of the challenge's subsets that are there; the first where none is, for the errors that it gives."""
    there = subsets_there(root)
    return [name for name in SUBSETS if name in there] or [SUBSETS[0]]


def machine_folders(root: Path, subset: str) -> tuple[list[Path], list[Path]]:
    """Folders of the machines in a subset, and folders that hold no split; both sorted by name.

    Raises:
        UserError: No such subset, or no machine in it.
    """
    home = root / subset / "raw"
    if not home.is_dir():
        other = _other_layout(root)
        if other:
            raise UserError(other)
        if subset != SUBSETS[0] or _meant(root, subset) or subsets_there(root) or not _machines(root):
            raise UserError(_no_subset(root, subset))
        home = root  # the machines lie in the root itself, as the archives unpack
    folders = sorted((one for one in home.iterdir() if _is_folder(one)), key=lambda one: one.name)
    machines = _machines(home)
    if not machines:
        raise UserError(f"{home}: no machines there; expected {home}/<machine>/train/{EXPECTED}")
    return machines, [folder for folder in folders if folder not in machines]


def _other_layout(root: Path) -> str:
    """Who reads a folder of another layout; empty where it is none of those."""
    if not root.is_dir() or subsets_there(root):
        return ""
    own = machines_in(root)
    if own and not (own[0].flat and _machines(root)):
        what, reader = "one's own recordings (<machine>/normal)", "Recordings"
    elif next(root.glob("*/id_*/normal"), None) is not None:
        what, reader = "MIMII in its authors' layout (<machine>/id_00/normal)", "MIMII"
    elif next(root.glob("*.tar"), None) is not None:
        what, reader = "tar archives", "Shards"
    else:
        return ""
    place = shlex.quote(str(root))
    return f"{root} holds {what}, not the challenge's folders; train on it with --data {reader} --data.root {place}"


def _machines(home: Path) -> list[Path]:
    if not home.is_dir():
        return []
    there = (one for one in home.iterdir() if _is_folder(one) and any((one / name).is_dir() for name in FOLDERS))
    return sorted(there, key=lambda one: one.name)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def _no_subset(root: Path, subset: str) -> str:
    there = subsets_there(root)
    if there:
        near = difflib.get_close_matches(subset, there, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        return f"unknown subset {subset!r} in {root}.{guess} There: {', '.join(there)}"
    if not root.exists():
        problem = f"no data folder {root}"
    elif not root.is_dir():
        problem = f"{root} is a file, not a data folder"
    elif not any(root.iterdir()):
        problem = f"the data folder {root} is empty"
    else:
        problem = f"{root} holds no folder {subset}/raw"
    right = _meant(root, subset)
    guess = f". Did you mean {right}?" if right else ""
    return f"{problem}; expected {root}/{subset}/raw/<machine>/train/{EXPECTED}{guess}"


def _meant(root: Path, subset: str) -> Path | None:
    """A folder above or below that holds the subset, or else another one."""
    below = sorted(filter(_is_folder, root.iterdir())) if root.is_dir() else []
    near = [*root.absolute().parents[:4], *below]
    for name in dict.fromkeys((subset, *SUBSETS)):
        for one in near:
            if (one / name / "raw").is_dir():
                return one
    return None
