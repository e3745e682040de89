"""The check of a data set: counts, rates, durations and levels, and every file that must be mended."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asd.data.clip import Clip, Condition, Kind, Split
from asd.data.folders import SUBSETS, subsets_there
from asd.data.layout import list_machines, missing_training, overlaps
from asd.data.measure import FileFacts, measure


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
        groups: Counts and measures.
        files: Every clip.
        faults: What must be mended, one line each.
        remarks: What is worth knowing, one line each.
    """

    root: Path
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
    """Read every clip under `root`.

    Args:
        root: The folder that holds ``dev_data/raw`` and ``eval_data/raw``.
        subsets: Which of them to check; ``None``: all that are there.
        machines: Machines to check; ``None``: all that are there.
        on_file: Called with the number of files read and of all files.

    Raises:
        UserError: No such folder, subset or machine.
    """
    root = Path(root)
    listings = list_machines(root, subsets or subsets_there(root) or SUBSETS[:1], machines)
    clips = [clip for listing in listings for clip in listing.clips]
    subset_of = {listing.folder: listing.subset for listing in listings}
    files = _measure_all(clips, on_file)
    faults = [fault for listing in listings for fault in listing.faults]
    faults += [*overlaps(listings), *missing_training(clips), *(file.fault for file in files if file.fault)]
    remarks = [note for listing in listings for note in listing.notes]
    groups = _groups(files, subset_of)
    remarks += [*_mixtures(files), *_hidden(groups), *(file.remark for file in files if file.remark)]
    return Report(root, groups, tuple(files), tuple(faults), tuple(remarks))


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


def _groups(files: Sequence[FileFacts], subset_of: dict[Path, str]) -> tuple[Group, ...]:
    members: dict[tuple[str, str, str, str, str], list[FileFacts]] = defaultdict(list)
    for file in files:
        clip = file.clip
        subset = subset_of[clip.path.parents[1]]
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


def _mixtures(files: Sequence[FileFacts]) -> list[str]:
    """Machines whose files differ in rate or channels, or whose training folder holds anomalies."""
    rates: dict[Path, set[tuple[int, int]]] = defaultdict(set)
    anomalies: dict[Path, int] = defaultdict(int)
    for file in files:
        folder = file.clip.path.parents[1]
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


def _hidden(groups: Sequence[Group]) -> list[str]:
    """One line on the machines whose training clips, all or some of them, have no attributes."""
    train = [group for group in groups if group.split == Split.TRAIN and group.hidden]
    told = []
    for machine in sorted({group.machine for group in train}):
        every = [group for group in groups if group.machine == machine and group.split == Split.TRAIN]
        hidden, clips = sum(group.hidden for group in every), sum(group.clips for group in every)
        told.append(machine if hidden == clips else f"{machine} ({hidden} of {clips} clips)")
    return [f"hidden attributes, one class per domain: {', '.join(told)}"] if told else []
