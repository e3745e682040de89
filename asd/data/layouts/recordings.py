"""One's own recordings: a folder for each machine, recordings of any length cut into clips.

    ROOT/<machine>/normal/            recordings of the machine in order, the one folder that is needed
    ROOT/<machine>/test/normal/       others of it in order, to measure with
    ROOT/<machine>/test/anomaly/      recordings of faults, to measure with
    ROOT/<machine>/clean/, noise/     the machine without background, the background without the machine
    ROOT/<machine>/attributes.csv     file_name, then a column for each attribute; a column `domain` is source or target

ROOT may be the folder of a machine itself. Upper case and words such as ``abnormal`` are understood, see
`own_folders`. Folders inside these are searched as well, and links are followed. A clip goes by a name of the
challenge's form, which says what it is, with the file's own name and the second it begins at the end.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asd.data.audio.decoding import AudioError, read_header
from asd.data.clip import Clip, Condition, Domain, Kind, Split, without_backslash
from asd.data.layouts.dcase import Listing
from asd.data.layouts.folders import choose_machines
from asd.data.layouts.own_attributes import Facts, read_facts
from asd.data.layouts.own_folders import (
    ATTRIBUTES,
    EXPECTED,
    MachineFolder,
    machines_in,
    meant,
    name_faults,
    remedy,
)
from asd.data.layouts.walk import children, counted, is_misnamed, left_alone, sort_out, walk
from asd.errors import Notice, UserError
from asd.utils.text import as_text

LEAST_RECORDINGS = 5
"""Recordings from which on some are held out; of fewer each is worth more in training."""

_STANDS_FOR: dict[str, tuple[Split, Condition | None, Kind]] = {
    "normal": (Split.TRAIN, Condition.NORMAL, Kind.MACHINE),
    "test/normal": (Split.TEST, Condition.NORMAL, Kind.MACHINE),
    "test/anomaly": (Split.TEST, Condition.ANOMALY, Kind.MACHINE),
    "clean": (Split.SUPPLEMENTAL, Condition.NORMAL, Kind.CLEAN),
    "noise": (Split.SUPPLEMENTAL, Condition.NORMAL, Kind.NOISE),
}


@dataclass(frozen=True)
class Cutting:
    """How recordings become clips.

    Attributes:
        seconds: Length of a clip.
        hop: Seconds from one clip to the next.
        holdout: Part of the normal recordings that is kept to measure false alarms with.
    """

    seconds: float = 10.0
    hop: float = 10.0
    holdout: float = 0.2


def is_recordings(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return bool(machines_in(root))


def list_recordings(root: Path, machines: Sequence[str] | None = None, cutting: Cutting | None = None) -> list[Listing]:
    """What lies in each machine's folder, with faults collected rather than raised.

    Raises:
        UserError: No such folder or machine, or nothing in it.
    """
    folders = machines_in(root)
    if not folders:
        problem = "no machine in" if root.is_dir() else "no folder"
        help_ = remedy(root)
        raise UserError(f"{problem} {root}; expected {root}/{EXPECTED}{f'. {help_}' if help_ else ''}")
    again = [] if machines else _again(folders)
    folders = [one for one in folders if one not in again]
    names = [one.name for one in folders]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise UserError(f"{root} holds two folders that are written {doubled} in different letters; rename one")
    chosen = choose_machines(machines, names, str(root))
    listings = [_read(one, cutting or Cutting()) for one in folders if one.name in chosen]
    if machines is None and folders[0].path != root:
        there = {one.path for one in folders}
        below, files = children(root)
        notes = left_alone(root, [one for one in below if one not in there], files, meant)
        listings[0].notes += [f"{note}; a machine has a folder normal" for note in notes]
    return listings


def _again(folders: Sequence[MachineFolder]) -> list[MachineFolder]:
    """Links to machines that are there as well."""
    first: dict[str, MachineFolder] = {}
    for one in sorted(folders, key=lambda one: one.path.is_symlink()):
        first.setdefault(os.path.realpath(one.path), one)
    return [one for one in folders if first[os.path.realpath(one.path)] is not one]


def scan_recordings(
    root: Path, machines: Sequence[str] | None = None, cutting: Cutting | None = None, skip: bool = False
) -> list[Clip]:
    """Every clip under `root`.

    Args:
        root: The folder that holds a folder for each machine.
        machines: Machines to list; ``None``: all that are there.
        cutting: How recordings become clips.
        skip: Leave out training recordings that cannot be read, with a warning.

    Raises:
        UserError: No such folder or machine, nothing in it, a broken attribute file, or a recording that cannot be
            read.
    """
    listings = list_recordings(root, machines, cutting)
    for listing in listings:
        if listing.faults and not skip:
            more = f" ({len(listing.faults) - 1} more; asd data check {root} lists them)" if listing.faults[1:] else ""
            raise UserError(f"{listing.faults[0]}{more}")
        for note in [*listing.faults, *listing.notes]:
            warnings.warn(note, Notice, stacklevel=2)
    return [clip for listing in listings for clip in listing.clips]


def _read(machine: MachineFolder, cutting: Cutting) -> Listing:
    folder = machine.path
    listing = Listing(folder, "recordings", machine.name, faults=name_faults(folder))
    found, others = _find(machine, listing)
    if machine.flat:
        listing.notes.append(f"{folder}: no folder normal, so the recordings beside each other are taken for normal")
    listing.notes += machine.renamed()
    listing.notes += left_alone(folder, machine.folders, others, meant)
    table = _table(folder)
    facts, faults = read_facts(table, folder, [path for path, _ in found])
    listing.faults += faults
    listing.attribute_files = table.is_file()
    for path, place in found:
        try:
            listing.clips += _cut(path, place, machine, facts.get(path, Facts()), cutting)
        except AudioError as error:
            listing.faults.append(str(error))
    misnamed = [path for path in dict.fromkeys(clip.path for clip in listing.clips) if is_misnamed(path)]
    if misnamed:
        listing.notes.append(f"{folder}: {counted(misnamed)} hold another format, which is what they are read as")
    _hold_out(listing, cutting)
    listing.clips = _titled(listing.clips, folder)
    if not any(clip.split == Split.TRAIN for clip in listing.clips) and not listing.faults:
        listing.faults.append(f"{folder}/normal holds no recording; put some there")
    return listing


def _find(machine: MachineFolder, listing: Listing) -> tuple[list[tuple[Path, str]], list[Path]]:
    """The recordings of a machine with what they stand for, and the files that are left alone."""
    found: list[tuple[Path, str]] = []
    beside, others = sort_out(machine.files)
    if machine.flat:
        found += [(path, "normal") for path in beside if path.parent == machine.path]
        beside = [path for path in beside if path.parent != machine.path]
    listing.faults += [f"{path}: no such file" for path in beside if not path.exists()]
    others += [path for path in beside if path.exists()]
    seen: set[str] = set()
    real = [os.path.realpath(path) for path, _ in machine.places]
    for path, place in machine.places:
        if os.path.realpath(path) in seen:
            listing.notes.append(f"{path} is a folder that was read already; it is left out")
        taken, rest = sort_out(walk(path, seen, real))
        found += [(one, place) for one in taken]
        others += rest
    return found, others


def _table(folder: Path) -> Path:
    """The machine's table of attributes, whatever the case of its name."""
    there = [path for path in children(folder)[1] if path.name.casefold() == ATTRIBUTES]
    return there[0] if there else folder / ATTRIBUTES


def _cut(path: Path, place: str, machine: MachineFolder, facts: Facts, cutting: Cutting) -> list[Clip]:
    """The clips of one recording: one every hop, the last aligned with the end."""
    header = read_header(path)
    length = header.frames / header.sample_rate
    relative = path.relative_to(machine.path)
    split, condition, kind = _STANDS_FOR[place]
    whole = Clip(
        path, machine.name, "00", split, facts.domain, condition, facts.attributes, kind,
        group=as_text(f"{machine.name}/{relative}"),
    )  # fmt: skip
    starts = _starts(length, cutting)
    if len(starts) == 1:
        return [whole]
    return [replace(whole, start=start, seconds=cutting.seconds) for start in starts]


def title(number: int, clip: Clip, own: str) -> str:
    """A name of the challenge's form, which says what the clip is, then the file's own name."""
    said = filter(None, (clip.domain, "supplemental" if clip.split == Split.SUPPLEMENTAL else clip.split))
    words = [*said, clip.condition if clip.kind == Kind.MACHINE else clip.kind]
    suffix = Path(own).suffix
    place = "" if clip.seconds is None else f"@{clip.start:.2f}s"
    return f"section_{clip.section}_{'_'.join(map(str, words))}_{number:04d}_{own.removesuffix(suffix)}{place}{suffix}"


def _titled(clips: Iterable[Clip], folder: Path) -> list[Clip]:
    """The clips with titles; the parts of a recording share its number."""
    numbers: dict[tuple[Split, Condition | None, Kind, Domain | None], dict[Path, int]] = {}
    found = []
    for clip in clips:
        of = numbers.setdefault((clip.split, clip.condition, clip.kind, clip.domain), {})
        number = of.setdefault(clip.path, len(of))
        inside = clip.path.relative_to(folder).parts
        own = without_backslash("-".join(inside[1:] or inside))
        found.append(replace(clip, name=as_text(title(number, clip, own))))
    return found


def _starts(length: float, cutting: Cutting) -> list[float]:
    spare = length - cutting.seconds
    if spare < cutting.seconds / 100:
        return [0.0]
    starts = [number * cutting.hop for number in range(int(spare / cutting.hop + 1e-6) + 1)]
    if spare - starts[-1] > cutting.hop / 100:
        starts.append(spare)
    return starts


def _hold_out(listing: Listing, cutting: Cutting) -> None:
    """Move whole normal recordings to the test, where there are none yet; say what can be measured."""
    tests = {clip.condition for clip in listing.clips if clip.split == Split.TEST}
    train = [clip for clip in listing.clips if clip.split == Split.TRAIN]
    recordings = sorted({clip.group for clip in train}, key=lambda group: hashlib.sha256(group.encode()).digest())
    wanted = cutting.holdout * len(train)
    if Condition.NORMAL not in tests and cutting.holdout > 0 and len(recordings) >= LEAST_RECORDINGS:
        held: set[str] = set()
        for group in recordings:
            if len([clip for clip in train if clip.group in held]) >= wanted:
                break
            held.add(group)
        listing.clips = [
            replace(c, split=Split.TEST) if c.split == Split.TRAIN and c.group in held else c for c in listing.clips
        ]
        tests.add(Condition.NORMAL)
        listing.notes.append(
            f"{listing.folder}: {len(held)} of {len(recordings)} normal recordings are held out, to measure with"
        )
    if Condition.NORMAL not in tests:
        listing.notes.append(
            f"{listing.folder}: neither false alarms nor detection can be measured, for no normal recording is held "
            f"out; put some into test/normal, or give {LEAST_RECORDINGS} recordings or more"
        )
    elif Condition.ANOMALY not in tests:
        listing.notes.append(
            f"{listing.folder}: false alarms can be measured, detection cannot; put recordings of faults into "
            "test/anomaly"
        )
