"""The check of a data set: counts, rates, durations and levels, and every file that must be mended."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asd.data.check.duplicates import Pair, find_pairs
from asd.data.check.measure import FileFacts, measure
from asd.data.check.otherwise import recorded_otherwise
from asd.data.clip import Clip, Condition, Kind, Split
from asd.data.layouts.dcase import Listing, list_machines, missing_training, overlaps
from asd.data.layouts.folders import SUBSETS, subsets_there
from asd.data.layouts.recordings import Cutting, is_recordings, list_recordings
from asd.utils.text import shown


@dataclass(frozen=True, slots=True)
class Group:
    """The clips of one machine, section, split and domain; of supplemental clips, of one kind.

    Attributes:
        subset: The folder that holds ``raw``.
        machine: Machine type.
        section: Digits of the section.
        split: ``train``, ``test`` or ``supplemental``.
        part: The domain or, of supplemental clips, ``clean``, ``noise`` or ``unknown``; ``-``: not known.
        clips: Number of clips.
        normal: Those known to be normal.
        anomaly: Those known to be anomalous.
        attributes: Number of different attribute strings.
        hidden: Clips without attributes.
        sample_rates: Different rates in Hz, of the files that can be read.
        channels: Different numbers of channels.
        seconds: Shortest and longest duration.
        level: Lowest and highest RMS level in dB relative to full scale.
    """

    subset: str
    machine: str
    section: str
    split: str
    part: str
    clips: int
    normal: int
    anomaly: int
    attributes: int
    hidden: int
    sample_rates: tuple[int, ...]
    channels: tuple[int, ...]
    seconds: tuple[float, float]
    level: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What the check found.

    Attributes:
        root: The data set.
        own: Whether it is one's own recordings, and not a data set of the challenge.
        groups: Counts and measures.
        files: Every clip.
        faults: What must be mended, one line each.
        remarks: What is worth knowing, one line each.
    """

    root: Path
    own: bool
    groups: tuple[Group, ...]
    files: tuple[FileFacts, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]


def check(
    root: Path | str,
    subsets: Sequence[str] | None = None,
    machines: Sequence[str] | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Report:
    """Read every file of a data set, and find those that are there twice.

    Args:
        root: The folder that holds ``dev_data/raw`` and ``eval_data/raw``, or one's own recordings.
        subsets: Which of them to check; ``None``: all that are there.
        machines: Machines to check; ``None``: all that are there.
        on_file: Called with the number of files read and of all files.

    Raises:
        UserError: No such folder, subset or machine.
    """
    root = Path(root)
    own = not subsets_there(root) and is_recordings(root)
    if own:
        listings = list_recordings(root, machines, Cutting(seconds=float("inf"), hop=float("inf")))
    else:
        listings = list_machines(root, subsets or subsets_there(root) or SUBSETS[:1], machines)
    clips = [clip for listing in listings for clip in listing.clips]
    home = {clip.path: listing for listing in listings for clip in listing.clips}
    files = _measure_all(clips, on_file)
    pairs = find_pairs([clip.path for clip in clips], [file.digest for file in files], [file.print for file in files])
    leaks, doubles = _doubles(pairs, {clip.path: clip for clip in clips})
    faults = [fault for listing in listings for fault in listing.faults]
    faults += overlaps(listings) if own else [*overlaps(listings), *missing_training(clips)]
    faults += [*(file.fault for file in files if file.fault), *leaks]
    remarks = [note for listing in listings for note in listing.notes]
    groups = _groups(files, home)
    remarks += [*_mixtures(files, home), *_hidden(groups, own), *odd_classes(clips), *doubles]
    remarks += [*recorded_otherwise(files), *(file.remark for file in files if file.remark)]
    return Report(root, own, groups, tuple(files), tuple(map(shown, faults)), tuple(map(shown, remarks)))


def _doubles(pairs: Sequence[Pair], clips: Mapping[Path, Clip]) -> tuple[list[str], list[str]]:
    """What must be mended, which is a clip that is trained on and tested, and what is worth knowing."""
    leaks: list[str] = []
    others: list[str] = []
    for pair in pairs:
        tested = {clips[path].split == Split.TEST for path in (pair.first, pair.second)}
        likeness = "the same samples as" if pair.exact else "nearly the same sound as"
        line = f"{pair.second}: {likeness} {pair.first}"
        if len(tested) == 2:
            line += ", which is in the other of training and test; remove one"
        (leaks if len(tested) == 2 and pair.exact else others).append(line)
    return leaks, others


def odd_classes(clips: Sequence[Clip]) -> list[str]:
    """Classes of a single clip, and attributes that are tested but never trained on; one line a machine."""
    told = []
    for machine in sorted({clip.machine for clip in clips}):
        sound = [clip for clip in clips if clip.machine == machine and clip.kind == Kind.MACHINE and clip.attributes]
        trained = Counter(clip.attributes.casefold() for clip in sound if clip.split == Split.TRAIN)
        lone = sorted(name for name, count in trained.items() if count == 1)
        if lone:
            told.append(f"{machine}: a single training clip of {_some(lone)}; too few to learn a class from")
        tested = {clip.attributes.casefold() for clip in sound if clip.split == Split.TEST}
        unseen = sorted(tested - set(trained)) if trained else []
        if unseen:
            told.append(f"{machine}: in the test but not in training: {_some(unseen)}")
    return told


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _measure_all(clips: Sequence[Clip], on_file: Callable[[int, int], None] | None) -> list[FileFacts]:
    files = []
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, facts in enumerate(pool.map(measure, clips), 1):
            files.append(facts)
            if on_file is not None:
                on_file(done, len(clips))
    finally:
        pool.shutdown(cancel_futures=True)
    return files


def _groups(files: Sequence[FileFacts], home: Mapping[Path, Listing]) -> tuple[Group, ...]:
    members: dict[tuple[str, str, str, str, str], list[FileFacts]] = defaultdict(list)
    for file in files:
        clip = file.clip
        subset = home[clip.path].subset
        members[subset, clip.machine, clip.section, str(clip.split), _part(clip)].append(file)
    return tuple(_group(names, found) for names, found in members.items())


def _group(names: tuple[str, str, str, str, str], files: Sequence[FileFacts]) -> Group:
    clips = [file.clip for file in files]
    readable = [file for file in files if file.sample_rate]
    seconds = [file.seconds for file in readable] or [0.0]
    level = [file.level for file in readable if np.isfinite(file.level)] or [-np.inf]
    attributes = [clip.attributes.casefold() for clip in clips]
    return Group(
        *names,
        clips=len(clips),
        normal=sum(clip.condition == Condition.NORMAL for clip in clips),
        anomaly=sum(clip.condition == Condition.ANOMALY for clip in clips),
        attributes=len({one for one in attributes if one}),
        hidden=attributes.count(""),
        sample_rates=tuple(sorted({file.sample_rate for file in readable})),
        channels=tuple(sorted({file.channels for file in readable})),
        seconds=(min(seconds), max(seconds)),
        level=(min(level), max(level)),
    )


def _part(clip: Clip) -> str:
    if clip.split == Split.SUPPLEMENTAL:
        return "unknown" if clip.kind == Kind.MACHINE else str(clip.kind)
    return str(clip.domain or "-")


def _mixtures(files: Sequence[FileFacts], home: Mapping[Path, Listing]) -> list[str]:
    """Machines whose files differ in rate or channels, or whose training folder holds anomalies."""
    rates: dict[Path, set[tuple[int, int]]] = defaultdict(set)
    anomalies: dict[Path, int] = defaultdict(int)
    for file in files:
        folder = home[file.clip.path].folder
        if file.sample_rate:
            rates[folder].add((file.sample_rate, file.channels))
        anomalies[folder] += file.clip.split == Split.TRAIN and file.clip.condition == Condition.ANOMALY
    mixed = [
        f"{folder}: files differ: {', '.join(f'{rate} Hz x {channels}' for rate, channels in sorted(kinds))} channels"
        for folder, kinds in rates.items()
        if len(kinds) > 1
    ]
    return mixed + [
        f"{folder}: {count} anomalous clips in train, they are not trained on"
        for folder, count in anomalies.items()
        if count
    ]


def _hidden(groups: Sequence[Group], own: bool) -> list[str]:
    """One line on the machines whose training clips, all or some of them, have no attributes."""
    train = [group for group in groups if group.split == Split.TRAIN and group.hidden]
    told = []
    for machine in sorted({group.machine for group in train}):
        every = [group for group in groups if group.machine == machine and group.split == Split.TRAIN]
        hidden, clips = sum(group.hidden for group in every), sum(group.clips for group in every)
        told.append(machine if hidden == clips else f"{machine} ({hidden} of {clips} clips)")
    said = "without attributes, so that each machine is one class" if own else "hidden attributes, one class per domain"
    return [f"{said}: {', '.join(told)}"] if told else []
