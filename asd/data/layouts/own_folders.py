"""The folders of one's own recordings: which of them are machines, and what each folder of a machine stands for."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asd.data.layouts.walk import children, is_recording, sort_out, walk
from asd.utils.text import folded, machine_word

EXPECTED = "<machine>/normal/<any name>.wav"
ATTRIBUTES = "attributes.csv"
LONGEST_NAME = 180
PLACES = ("normal", "test/normal", "test/anomaly", "clean", "noise")

_ANOMALY = ("anomaly", "anomalies", "anomalous", "abnormal")
_MEANINGS = {
    **{place: place for place in PLACES},
    "train/normal": "normal",
    **dict.fromkeys(_ANOMALY, "test/anomaly"),
    **{f"test/{word}": "test/anomaly" for word in _ANOMALY},
}
_PARENTS = ("train", "test")
# Words that are not taken for what they may mean, but asked about.
_GUESSES = {
    **dict.fromkeys(("train", "training", "good", "ok", "healthy", "nominal", "normals", "reference"), "normal"),
    **dict.fromkeys(("val", "validation", "tests", "testing"), "test/normal"),
    **dict.fromkeys(("bad", "ng", "fault", "faulty", "faults", "defect", "defective", "broken"), "test/anomaly"),
    **dict.fromkeys(("failure", "damaged", "unhealthy"), "test/anomaly"),
    "background": "noise",
}


@dataclass
class MachineFolder:
    """What lies in the folder of a machine.

    Attributes:
        path: The folder.
        places: Folders that stand for something, with what they stand for, in the order of `PLACES`.
        flat: Whether there is no folder of normal sound, so that the recordings in the folder itself are that.
        folders: Other folders.
        files: Files beside the folders, also those in ``test`` and ``train``, but for the attributes.
    """

    path: Path
    places: list[tuple[Path, str]] = field(default_factory=list)
    flat: bool = False
    folders: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the machine is called."""
        return machine_name(self.path)

    def renamed(self) -> Iterator[str]:
        """One line for each folder that goes by another word than the usual one."""
        for path, place in self.places:
            if folded(path.relative_to(self.path).as_posix()) not in (place, "."):
                yield f"{path} is read as {place}"


def machine_name(folder: Path) -> str:
    """The name of the machine whose folder it is."""
    return machine_word(folder.absolute().name)


def name_faults(folder: Path) -> list[str]:
    """What is wrong with the name of a machine's folder: one line, or none."""
    size = len(machine_name(folder).encode())
    if size <= LONGEST_NAME:
        return []
    return [f"{folder}: a machine's name of {size} bytes, of which files of scores take {LONGEST_NAME}; rename it"]


def look_into(folder: Path) -> MachineFolder:
    """Sort out what lies in the folder of a machine."""
    found = MachineFolder(folder)
    below, found.files = children(folder)
    for path in below:
        if folded(path.name) in _PARENTS:
            inner, files = children(path)
            known = [one for one in inner if _meaning(path, one)]
            found.places += [(one, _meaning(path, one)) for one in known]
            found.files += files
            found.folders += [one for one in inner if one not in known] if known or not files else [path]
        elif _meaning(path):
            found.places.append((path, _meaning(path)))
        else:
            found.folders.append(path)
    found.files = [path for path in found.files if folded(path.name) != ATTRIBUTES or path.parent != folder]
    found.places.sort(key=lambda one: PLACES.index(one[1]))
    found.flat = not any(place == "normal" for _, place in found.places)
    return found


def _meaning(*parts: Path) -> str:
    return _MEANINGS.get("/".join(folded(one.name) for one in parts), "")


def meant(folder: Path) -> str:
    """What a folder of an unknown name is likely to stand for; empty: nothing comes near."""
    name = folded(folder.name)
    words = {**_GUESSES, **{word: place for word, place in _MEANINGS.items() if "/" not in word}}
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.75)
    return words[near[0]] if near else ""


def machines_in(root: Path) -> list[MachineFolder]:
    """The machines in a folder; the folder itself, where it is that of a machine.

    Where no folder ``normal`` is to be found, a folder that holds recordings is a machine in order, unless its name
    says a state.
    """
    below, files = children(root)
    looked = [look_into(path) for path in below]
    normal = [one for one in looked if not one.flat]
    own = look_into(root)
    # A folder test/normal does not make `test` a machine.
    machines = [one for one in normal if own.flat or not is_state(one.path)]
    if machines or not own.flat:
        return machines or [own]
    flat = [one for one in looked if _holds_recordings(one.files)]
    if _holds_recordings(files):
        return [] if is_state(root.absolute()) else [own]
    return [] if any(is_state(one.path) for one in flat) else flat


def is_state(folder: Path) -> bool:
    """Whether a folder's name says what state a machine is in rather than which machine it is."""
    return folded(folder.name) in {*_GUESSES, *_MEANINGS, *_PARENTS}


def _holds_recordings(files: list[Path]) -> bool:
    return any(is_recording(path.name) for path in files)


def remedy(root: Path) -> str:
    """The one command that makes machines of what lies in a folder without any, or the right folder; may be empty."""
    if is_state(root.absolute()) and machines_in(root.absolute().parent):
        return f"it is a folder of a machine: give {shlex.quote(str(root.absolute().parent))} in its place"
    below, _ = children(root)
    for folder in (root, *below):
        for one in children(folder)[0]:
            if meant(one) == "normal" and sort_out(walk(one))[0]:
                return f"did you mean normal? mv {shlex.quote(str(one))} {shlex.quote(str(folder / 'normal'))}"
    for folder in below:
        if machines_in(folder):
            return f"give {shlex.quote(str(folder))} in its place"
    return ""
