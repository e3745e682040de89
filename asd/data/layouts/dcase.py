"""The folders of DCASE Task 2: every clip of a data set and what its name and attribute file say of it.

    ROOT/dev_data/raw/<machine>/{train,test,supplemental}/*.wav and attributes_00.csv, ROOT/eval_data/raw/... likewise

The tests of 2021, in ``source_test`` and ``target_test``, are found as well; any other folder is left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.data.layouts.attributes import PATTERN, AttributeTable, key, read_attributes
from asd.data.layouts.folders import FOLDERS, challenge_subsets, choose_machines, machine_folders
from asd.data.layouts.names import EXPECTED, ParsedName, parse_name
from asd.data.layouts.own_folders import machine_name, name_faults
from asd.data.layouts.walk import children, left_alone
from asd.errors import Notice, UserError
from asd.utils.text import canonical, folded

SUFFIXES = (".wav", ".flac")
_SHOWN = 3


@dataclass(slots=True)
class Listing:
    """What lies in one machine's folder.

    Attributes:
        folder: The machine's folder.
        subset: The subset it belongs to.
        machine: Its name.
        clips: The clips whose names could be read, by split and name.
        faults: What must be mended, one line each.
        notes: What the user should know, one line each.
        attribute_files: Whether there is an attribute file.
    """

    folder: Path
    subset: str
    machine: str
    clips: list[Clip] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attribute_files: bool = False


def scan(
    root: Path | str,
    subsets: Sequence[str] | None = ("dev_data",),
    machines: Sequence[str] | None = None,
    training: bool = False,
    test_subsets: Sequence[str] | None = None,
) -> list[Clip]:
    """Every clip under `root`, ordered by subset, machine, split and file name.

    Attributes are those of the file name, else those of the attribute file. A clip in ``train`` whose name gives no
    condition is normal. A supplemental clip whose name does not tell what can be heard has `Kind.MACHINE`, belongs to
    no class, and is warned of. A machine may be in both subsets, with different sections.

    Args:
        root: The folder that holds ``dev_data/raw`` and ``eval_data/raw``.
        subsets: Which of them to list; ``None``: those that are there.
        machines: Machines to list; ``None``: all that are there.
        training: Insist on normal training clips for every machine and section.
        test_subsets: Of which of `subsets` to list the test clips; ``None``: of all.

    Raises:
        UserError: No such folder, subset or machine; test clips of a subset that is not listed; names that cannot be
            parsed or are there twice; an attribute file that is broken or names unknown files; a machine and section in
            two subsets.
    """
    subsets = challenge_subsets(Path(root)) if subsets is None else subsets
    unlisted = [name for name in test_subsets or () if name not in subsets]
    if unlisted:
        raise UserError(f"test clips of {unlisted[0]} asked for, but the subsets are {', '.join(subsets)}; name it too")
    listings = list_machines(Path(root), subsets, machines)
    faults = [fault for listing in listings for fault in listing.faults] + overlaps(listings)
    if training:
        faults += missing_training(clip for listing in listings for clip in listing.clips)
    if faults:
        more = f" ({len(faults) - 1} more to mend: asd data check {root})" if len(faults) > 1 else ""
        raise UserError(f"{faults[0]}{more}")
    for listing in listings:
        for note in listing.notes:
            warnings.warn(note, Notice, stacklevel=2)
    tested = subsets if test_subsets is None else test_subsets
    return [
        clip for listing in listings for clip in listing.clips if clip.split != Split.TEST or listing.subset in tested
    ]


def list_machines(root: Path, subsets: Sequence[str], machines: Sequence[str] | None = None) -> list[Listing]:
    """What lies in each machine's folder, with faults collected rather than raised.

    Raises:
        UserError: No such folder, subset or machine, or nothing in them.
    """
    if not subsets:
        raise UserError("no subset asked for; name one, for example dev_data")
    found = {subset: machine_folders(root, subset) for subset in subsets}
    folders = [(subset, folder) for subset, (there, _) in found.items() for folder in there]
    names = {machine_name(folder) for _, folder in folders}
    chosen = choose_machines(machines, names, f"{' and '.join(found)} of {root}")
    listings = [read_machine(folder, subset) for subset, folder in folders if machine_name(folder) in chosen]
    if machines is None:
        listings[0].notes += [
            f"{folder} is left out: it has no train, test or supplemental folder"
            for _, others in found.values()
            for folder in others
        ]
    # Evaluation machines may come without; among development machines a single gap is a loss.
    with_file = {listing.subset for listing in listings if listing.attribute_files} - {"eval_data"}
    for listing in listings:
        if listing.subset in with_file and not listing.attribute_files:
            listing.notes.append(
                f"{listing.folder}: no attributes_00.csv, though other machines have one; "
                "attributes are taken from the file names alone"
            )
    return listings


def read_machine(folder: Path, subset: str = "dev_data") -> Listing:
    """List one machine's folder."""
    listing = Listing(folder, subset, machine_name(folder), faults=name_faults(folder))
    table = _table(listing)
    below, beside = children(folder)
    present = {name: split for name, split in FOLDERS.items() if (folder / name).is_dir()}
    folders = [path for path in below if path.name not in present]
    others = [path for path in beside if not path.match(PATTERN)]
    unread: list[str] = []
    misplaced: list[str] = []
    for name, (split, domain) in present.items():
        supplemental = split == Split.SUPPLEMENTAL
        inner, files = children(folder / name)
        folders += inner
        for path in files:
            if not path.name.casefold().endswith(SUFFIXES):
                others.append(path)
                continue
            parsed = parse_name(canonical(path.stem), supplemental)
            if parsed is None:
                unread.append(f"{name}/{path.name}")
            elif not supplemental and parsed.split not in (None, split):
                misplaced.append(f"{name}/{path.name}")
            else:
                listing.clips.append(_clip(path, listing.machine, split, domain, parsed, table))
    listing.notes += left_alone(folder, folders, others, _meant)
    if unread:
        own = (
            "" if listing.clips or misplaced else f"; recordings of any name go into {folder}/normal: --data Recordings"
        )
        listing.faults.append(f"{folder}: cannot parse {_some(unread)}; expected names like {EXPECTED}{own}")
    if misplaced:
        listing.faults.append(f"{folder}: name and folder give different splits: {_some(misplaced)}; move or rename")
    if not listing.clips and not unread and not misplaced:
        listing.faults.append(f"{folder}: no clips (.wav, .flac) in {', '.join(present)}; put them there")
    _check_doubles(listing)
    _check_rows(listing, table, {split for split, _ in present.values()}, unread + misplaced)
    unknown = [c.path.name for c in listing.clips if c.split == Split.SUPPLEMENTAL and c.kind == Kind.MACHINE]
    if unknown:
        listing.notes.append(
            f"{folder}/supplemental: {_some(unknown)}: the name says neither machine, clean nor noise; "
            "such clips are in no class"
        )
    return listing


def missing_training(clips: Iterable[Clip]) -> list[str]:
    """One line for every machine and section without normal training clips."""
    folders: dict[tuple[str, str], Path] = {}
    trained = set()
    for clip in clips:
        folders.setdefault((clip.machine, clip.section), clip.path.parents[1])
        if clip.split == Split.TRAIN and clip.condition == Condition.NORMAL:
            trained.add((clip.machine, clip.section))
    return [
        f"no normal training clips for {machine}, section {section}; put some into {folder}/train"
        for (machine, section), folder in folders.items()
        if (machine, section) not in trained
    ]


def overlaps(listings: Iterable[Listing]) -> list[str]:
    """One line for every machine and section that is in two subsets."""
    first: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], str] = {}
    for listing in listings:
        for section in sorted({clip.section for clip in listing.clips}):
            subset = first.setdefault((listing.machine, section), listing.subset)
            if subset != listing.subset:
                found[listing.machine, section] = (
                    f"{listing.machine}, section {section}, is in both {subset} and {listing.subset}; "
                    "use one of the subsets, or rename one of the machines"
                )
    return list(found.values())


def _table(listing: Listing) -> AttributeTable:
    try:
        table = read_attributes(listing.folder)
    except UserError as error:
        listing.faults.append(str(error))
        listing.attribute_files = True
        return AttributeTable()
    listing.attribute_files = table.files > 0
    return table


def _meant(folder: Path) -> str:
    """The folder of the challenge whose name comes near; empty: none does."""
    return next(iter(get_close_matches(folder.name.casefold(), FOLDERS, 1, 0.75)), "")


def _clip(
    path: Path, machine: str, split: Split, domain: Domain | None, parsed: ParsedName, table: AttributeTable
) -> Clip:
    condition = parsed.condition
    if split == Split.TRAIN and condition is None:
        condition = Condition.NORMAL
    attributes = parsed.attributes or table.attributes(path.stem)
    return Clip(path, machine, parsed.section, split, parsed.domain or domain, condition, attributes, parsed.kind)


def _check_doubles(listing: Listing) -> None:
    seen: dict[tuple[Split, str], Path] = {}
    for clip in listing.clips:
        first = seen.setdefault((clip.split, folded(clip.path.stem)), clip.path)
        if first != clip.path:
            listing.faults.append(
                f"{listing.folder}: duplicate names {first.parent.name}/{first.name} and "
                f"{clip.path.parent.name}/{clip.path.name} (case and suffix do not count); remove or rename one"
            )


def _check_rows(listing: Listing, table: AttributeTable, present: set[Split], others: Iterable[str]) -> None:
    stems = {key(clip.path.stem) for clip in listing.clips} | {key(Path(name).stem) for name in others}
    rows = [row for name, row in table.rows.items() if name not in stems]
    # A split that was not downloaded has rows all the same.
    unknown = [row for row in rows if row.split is None or row.split in present]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        listing.faults.append(
            f"{unknown[0].place}: unknown file {unknown[0].file_name}{more}; restore the clips or remove the rows"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{len(names)} files ({shown}, ...)" if len(names) > _SHOWN else shown
