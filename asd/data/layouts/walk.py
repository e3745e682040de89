"""Finding recordings in folders: which suffixes, which links, and what is left alone."""

from __future__ import annotations

import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from asd.errors import Notice, UserError

SUFFIXES = (
    # libsndfile
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mp1", ".aiff",
    ".aif", ".aifc", ".caf", ".au", ".snd", ".sph", ".nist", ".voc", ".avr", ".ircam", ".sf", ".paf", ".pvf", ".sds",
    # ffmpeg
    ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".aac", ".adts", ".3gp", ".3gpp", ".3g2", ".amr", ".wma", ".asf", ".wmv",
    ".webm", ".weba", ".mkv", ".mka", ".avi", ".ac3", ".eac3", ".wv", ".ape", ".tta", ".spx",
)  # fmt: skip
"""What the decoder reads, and so what is a recording in a folder."""

_MARKS = {
    (".wav", ".wave", ".bwf"): (b"RIFF", b"RIFX", b"RF64", b"BW64"),
    (".rf64",): (b"RF64", b"BW64"),
    (".w64",): (b"riff",),
    (".flac",): (b"fLaC", b"OggS"),
    (".ogg", ".oga", ".opus", ".spx"): (b"OggS",),
    (".aiff", ".aif", ".aifc"): (b"FORM",),
    (".caf",): (b"caff",),
    (".au", ".snd"): (b".snd",),
}
_SHOWN = 8
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "__pycache__"}


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or is one that systems leave behind."""
    return name.startswith(".") or name.casefold() in _LITTER


def is_recording(name: str) -> bool:
    """Whether a file of that name is taken for a recording."""
    return name.casefold().endswith(SUFFIXES) and not is_litter(name)


def children(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and files in a folder by name, without litter; links are followed. None where the folder is not there.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            is_folder = {entry.name: _is_folder(entry) for entry in entries if not is_litter(entry.name)}
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    below: list[Path] = []
    files: list[Path] = []
    for name in sorted(is_folder):
        (below if is_folder[name] else files).append(folder / name)
    return below, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where one may not look
        return False


def walk(folder: Path, seen: set[str] | None = None, elsewhere: Iterable[str] = ()) -> Iterator[Path]:
    """Every file below a folder, a folder's own before those of the folders in it, by name.

    Links are followed, and a folder that is reached twice is read once. A link that leads nowhere and a folder that
    cannot be read come as files, so that whoever opens them tells of it; a link to a folder above is left out.

    Args:
        folder: Where to look; if it is not there, nothing is found.
        seen: Folders, as they really lie, that are read already; those that are found are added.
        elsewhere: Folders, as they really lie, that are left out with all that is in them.
    """
    start = os.path.realpath(folder)
    above = {str(one) for one in Path(start).parents}
    seen = set() if seen is None else seen
    apart = tuple(os.path.join(one, "") for one in elsewhere if one != start)  # noqa: PTH118 - ends in a separator
    left = [folder]
    while left:
        place = left.pop()
        real = os.path.realpath(place)
        if real in seen or real in above or f"{real}{os.sep}".startswith(apart):
            continue
        seen.add(real)
        try:
            below, files = children(place)
        except OSError:
            below, files = [], [place]
        yield from files
        left += reversed(below)


def sort_out(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The recordings among the files, and the others; what `walk` gives to be told of counts as a recording."""
    taken: list[Path] = []
    others: list[Path] = []
    for path in files:
        (taken if _is_taken(path) else others).append(path)
    return taken, others


def _is_taken(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    # A pipe or a device is none, whatever its name: opening it may never end.
    return stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and is_recording(path.name))


def is_misnamed(path: Path) -> bool:
    """Whether a file that can be read begins otherwise than files of its suffix do."""
    marks = next((marks for suffixes, marks in _MARKS.items() if path.suffix.casefold() in suffixes), None)
    if marks is None:
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) not in marks
    except OSError:
        return False


def counted(others: Iterable[Path]) -> str:
    """The number of files and their suffixes, for messages."""
    suffixes = Counter(path.suffix.casefold() or "without suffix" for path in others)
    return f"{suffixes.total()} file{'s' if suffixes.total() > 1 else ''} ({', '.join(sorted(suffixes)[:_SHOWN])})"


def left_alone(
    folder: Path, folders: Sequence[Path], files: Sequence[Path], meant: Callable[[Path], str] = lambda _: ""
) -> list[str]:
    """One line on what is not read in a folder; none where that is nothing.

    Args:
        folder: Where it lies.
        folders: The folders that are not read.
        files: The files that are not read.
        meant: What a folder is likely to stand for; empty: nothing.
    """
    parts = [counted(files)] if files else []
    if folders:
        names = [
            f"{path.relative_to(folder)}{f' (did you mean {guess}?)' if (guess := meant(path)) else ''}"
            for path in folders[:_SHOWN]
        ]
        more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
        parts.append(f"folder{'s' if len(folders) > 1 else ''} {', '.join(names)}{more}")
    return [f"{folder}: left alone: {', '.join(parts)}"] if parts else []


def recordings_below(folder: Path) -> list[Path]:
    """The recordings in a folder and the folders in it, sorted; a `Notice` tells what is left alone.

    Raises:
        UserError: There are none.
    """
    taken, others = sort_out(walk(folder))
    if not taken:
        what = f"only {counted(others)}" if others else "no file"
        raise UserError(f"{folder} holds no recording, {what}; known are {', '.join(SUFFIXES)}")
    for note in left_alone(folder, [], others):
        warnings.warn(note, Notice, stacklevel=2)
    return sorted(taken)


def recordings_in(sources: Iterable[Path | str]) -> Iterator[Path]:
    """The files named, and the recordings in the folders named, sorted; a `Notice` tells what is left alone there.

    Raises:
        UserError: A folder without recordings.
    """
    for source in map(Path, sources):
        if source.is_dir():
            yield from recordings_below(source)
        else:
            yield source
