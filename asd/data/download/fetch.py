"""Download a year's data: list the records, fetch the archives in parallel, unpack them into the challenge's layout."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from asd.data.download.unzip import unpack
from asd.data.download.zenodo import RECORDS, SUBSETS, ZENODO, Archive, list_record, machine_of
from asd.errors import UserError
from asd.utils.download import Report, download, file_checksum
from asd.utils.files import replace_text

DOWNLOADS = "downloads"


@dataclass
class Fetched:
    """What a call did.

    Attributes:
        unpacked: Archives that were unpacked now.
        there: Archives that an earlier call had unpacked.
        failed: What went wrong, by archive.
    """

    unpacked: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find(
    year: int, subsets: Sequence[str], machines: Sequence[str] | None, root: Path, server: str = ZENODO
) -> list[Archive]:
    """The archives that make up the data asked for.

    Where a record cannot be reached, archives that were put into ``ROOT/downloads`` by hand stand in for its listing.

    Raises:
        UserError: An unknown year, subset or machine, or records that cannot be reached.
    """
    if year not in RECORDS:
        raise UserError(f"no data of {year} are known; years are {min(RECORDS)} to {max(RECORDS)}")
    unknown = [one for one in subsets if one not in SUBSETS]
    if unknown:
        raise UserError(f"no subset {unknown[0]!r}; subsets are {', '.join(SUBSETS)}")
    archives: list[Archive] = []
    for subset in subsets:
        for record in RECORDS[year][subset]:
            try:
                archives += list_record(record, subset, server)
            except UserError as error:
                by_hand = _by_hand(root, subset)
                if not by_hand:
                    raise UserError(
                        f"{error}; or put the archives of {server}/records/{record} into {root / DOWNLOADS / subset} "
                        "and run the command again"
                    ) from error
                archives += [one for one in by_hand if one not in archives]
    if machines is None:
        return archives
    known = sorted({one.machine for one in archives})
    for machine in machines:
        if machine not in known:
            near = difflib.get_close_matches(machine, known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"no machine {machine!r} in {year}.{guess} Machines: {', '.join(known)}")
    return [one for one in archives if one.machine in machines]


def _by_hand(root: Path, subset: str) -> list[Archive]:
    folder = root / DOWNLOADS / subset
    paths = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    return [
        Archive(subset, machine, path.name, "", None, None)
        for path in paths
        if (machine := machine_of(path.name)) is not None
    ]


def fetch(
    archives: Sequence[Archive],
    root: Path,
    jobs: int = 3,
    keep: bool = False,
    bar: Callable[[str], Report] | None = None,
) -> Fetched:
    """Download and unpack; what an earlier call finished is left alone, what it began goes on.

    Args:
        archives: What to fetch.
        root: Gets ``<subset>/raw/<machine>/...``; archives gather in ``downloads``.
        jobs: Downloads at a time.
        keep: Keep the archives after unpacking.
        bar: Gives the progress report of an archive by its name.
    """
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; give 1 or more")
    done = Fetched()

    def one(archive: Archive) -> None:
        try:
            list_ = done.unpacked if _fetch(archive, root, keep, bar) else done.there
            list_.append(archive.name)
        except UserError as error:
            done.failed[archive.name] = str(error)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, archives))
    return done


def _fetch(archive: Archive, root: Path, keep: bool, bar: Callable[[str], Report] | None) -> bool:
    """Whether anything had to be done."""
    folder = root / DOWNLOADS / archive.subset
    path, mark = folder / archive.name, folder / f"{archive.name}.unpacked"
    # A record that was revised since is fetched again.
    version = archive.checksum or "unknown"
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() in (version, "unknown"):
        return False
    if not (path.is_file() and _as_listed(archive, path)):
        if not archive.url:
            raise UserError(f"{path} is not there")
        report = None if bar is None else bar(archive.name)
        download(archive.url, path, size=archive.size, checksum=archive.checksum, report=report)
    unpack(path, root / archive.subset / "raw")
    replace_text(mark, f"{version}\n")
    if not keep:
        path.unlink()
    return True


def _as_listed(archive: Archive, path: Path) -> bool:
    if archive.size is not None and path.stat().st_size != archive.size:
        return False
    return archive.checksum is None or file_checksum(path, archive.checksum.partition(":")[0]) == archive.checksum
