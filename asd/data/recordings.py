"""One's own recordings: a folder for each machine, recordings of any length cut into clips.

    ROOT/<machine>/normal/            recordings of the machine in order, the one folder that must be there
    ROOT/<machine>/test/normal/       others of it in order, to measure with
    ROOT/<machine>/test/anomaly/      recordings of faults, to measure with
    ROOT/<machine>/clean/, noise/     the machine without background, the background without the machine
    ROOT/<machine>/attributes.csv     file_name, then a column for each attribute; a column `domain` is source or target

Folders inside these are searched as well. A clip goes by a name of the challenge's form, which says what it is, with
the file's own name and the second it begins at the end.
"""

from __future__ import annotations

import csv
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asd.data.audio import AudioError, read_header
from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.data.folders import choose_machines
from asd.data.foreign import FOREIGN
from asd.data.layout import Listing
from asd.errors import Notice, UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", *FOREIGN)
EXPECTED = "<machine>/normal/<any name>.wav"
LEAST_RECORDINGS = 5
"""Recordings from which on some are held out; of fewer each is worth more in training."""

_ATTRIBUTES = "attributes.csv"
_FOLDERS: dict[str, tuple[Split, Condition | None, Kind]] = {
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


@dataclass
class _Facts:
    attributes: str = ""
    domain: Domain | None = None


@dataclass
class _Machine:
    folder: Path
    facts: dict[str, _Facts] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


def is_recordings(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return bool(machines_in(root))


def machines_in(root: Path) -> list[Path]:
    """Folders of machines that have a folder ``normal``."""
    if not root.is_dir():
        return []
    return sorted(one for one in root.iterdir() if not one.name.startswith(".") and (one / "normal").is_dir())


def list_recordings(root: Path, machines: Sequence[str] | None = None, cutting: Cutting | None = None) -> list[Listing]:
    """What lies in each machine's folder, with faults collected rather than raised.

    Raises:
        UserError: No such folder or machine, or nothing in it.
    """
    folders = machines_in(root)
    if not folders:
        problem = "no machine in" if root.is_dir() else "no folder"
        guess = f". Did you mean {root.parent}?" if (root / "normal").is_dir() else ""
        raise UserError(f"{problem} {root}; expected {root}/{EXPECTED}{guess}")
    chosen = choose_machines(machines, {one.name for one in folders}, str(root))
    return [_read(folder, cutting or Cutting()) for folder in folders if folder.name in chosen]


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


def _read(folder: Path, cutting: Cutting) -> Listing:
    listing = Listing(folder, "recordings", folder.name)
    machine = _Machine(folder)
    try:
        machine.facts = _read_attributes(folder / _ATTRIBUTES)
    except UserError as error:
        listing.faults.append(str(error))
    listing.attribute_files = bool(machine.facts)
    for name in _FOLDERS:
        for path in _files(folder / name):
            try:
                listing.clips += _cut(path, name, machine, cutting)
            except AudioError as error:
                listing.faults.append(str(error))
    unknown = sorted(set(machine.facts) - machine.used)
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        listing.faults.append(f"{folder / _ATTRIBUTES}: no file {unknown[0]}{more} in {folder}; mend the names")
    _hold_out(listing, cutting)
    listing.clips = _titled(listing.clips, folder)
    if not any(clip.split == Split.TRAIN for clip in listing.clips) and not listing.faults:
        listing.faults.append(f"{folder}/normal holds no recording ({', '.join(SUFFIXES)}); put some there")
    return listing


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            if name.casefold().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place) / name


def _cut(path: Path, place: str, machine: _Machine, cutting: Cutting) -> list[Clip]:
    """The clips of one recording: one every hop, the last aligned with the end."""
    header = read_header(path)
    length = header.frames / header.sample_rate
    relative = path.relative_to(machine.folder)
    facts = _facts(machine, relative)
    split, condition, kind = _FOLDERS[place]
    whole = Clip(
        path, machine.folder.name, "00", split, facts.domain, condition, facts.attributes, kind,
        group=f"{machine.folder.name}/{relative}",
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
        own = "-".join(clip.path.relative_to(folder).parts[1:])
        found.append(replace(clip, name=title(number, clip, own)))
    return found


def _starts(length: float, cutting: Cutting) -> list[float]:
    spare = length - cutting.seconds
    if spare < cutting.seconds / 100:
        return [0.0]
    starts = [number * cutting.hop for number in range(int(spare / cutting.hop + 1e-6) + 1)]
    if spare - starts[-1] > cutting.hop / 100:
        starts.append(spare)
    return starts


def _facts(machine: _Machine, relative: Path) -> _Facts:
    for name in (str(relative), relative.name, relative.stem):
        if name in machine.facts:
            machine.used.add(name)
            return machine.facts[name]
    return _Facts()


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


def _read_attributes(path: Path) -> dict[str, _Facts]:
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); mend or remove it") from error
    header = [name.strip() for name in lines[0]] if lines else []
    if not header or header[0] != "file_name":
        raise UserError(f"{path}: the first line must be file_name, then the names of attributes; mend it")
    return dict(_attribute_rows(path, header, lines[1:]))


def _attribute_rows(path: Path, header: list[str], lines: Iterable[list[str]]) -> Iterator[tuple[str, _Facts]]:
    for number, fields in enumerate(lines, 2):
        if not any(fields):
            continue
        if len(fields) != len(header):
            raise UserError(f"{path}, line {number}: {len(fields)} fields, the first line has {len(header)}; mend it")
        pairs = dict(zip(header[1:], (one.strip() for one in fields[1:]), strict=True))
        domain = pairs.pop("domain", "") or None
        if domain not in (None, *Domain):
            raise UserError(f"{path}, line {number}: domain is {domain!r}; give source or target")
        joined = "_".join(f"{name}_{value}" for name, value in pairs.items() if value)
        yield fields[0].strip(), _Facts(joined, None if domain is None else Domain(domain))
