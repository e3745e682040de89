"""Calibration clips: normal clips that are never trained on, so that thresholds come from sound that is new."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from asd.data.clip import Clip, Condition, Kind, Split
from asd.data.layouts.recordings import LEAST_RECORDINGS

_STRETCHES = 10
"""Parts into which few recordings are cut, all together."""
_LEAST = 3
"""Clips of a domain that are wanted at least, as long as they are no more than a third."""


def choose(clips: Sequence[Clip], part: float) -> list[Clip]:
    """The clips, of which those chosen for calibration are marked, in the order given.

    A part of the normal training clips of each machine, section and domain, spread over its attributes, of which none
    is left without a clip to train on. A recording is chosen whole; where a machine has less than five, they are cut
    into contiguous stretches, and clips that reach from one into the next are left out. The choice depends on the clips
    alone.

    Args:
        clips: Clips of any split and kind.
        part: Of the normal training clips, from 0 to below 1; of a domain with few clips a third, up to three.
    """
    if not part:
        return list(clips)
    domains: dict[Hashable, list[Clip]] = defaultdict(list)
    for clip in clips:
        if _is_normal(clip):
            domains[clip.machine_section, clip.domain].append(clip)
    known: dict[Clip, Clip | None] = {}
    for own in domains.values():
        cut = _stretches(own)
        left = [clip for clip in cut.values() if clip is not None]
        chosen = _chosen(left, part)
        known |= {
            clip: None if now is None else replace(now, calibration=_unit(now) in chosen) for clip, now in cut.items()
        }
    found = [known.get(clip, clip) for clip in clips]
    return [clip for clip in found if clip is not None]


def _is_normal(clip: Clip) -> bool:
    return clip.split == Split.TRAIN and clip.kind == Kind.MACHINE and clip.condition != Condition.ANOMALY


def _unit(clip: Clip) -> str:
    """What is held out together."""
    return clip.group or f"{clip.title}@{clip.start}"


def _stretches(clips: Sequence[Clip]) -> dict[Clip, Clip | None]:
    """The clips of a domain with a group for each stretch of a recording; ``None`` for one that is in two of them."""
    recordings = sorted({clip.group for clip in clips})
    if not all(clip.group for clip in clips) or len(recordings) >= LEAST_RECORDINGS:
        return {clip: clip for clip in clips}
    ordered = sorted(clips, key=lambda clip: (clip.group, clip.start))
    found = stretches([(recordings.index(clip.group), clip.start) for clip in ordered], ordered[0].seconds or 0.0)
    return {
        clip: None if number < 0 else replace(clip, group=f"{clip.group}#{number}")
        for clip, number in zip(ordered, found, strict=True)
    }


def stretches(clips: Sequence[tuple[int, float]], seconds: float) -> list[int]:
    """The group of each clip: its recording, or where these are few, a contiguous stretch of it.

    Args:
        clips: Recording, and seconds at which the clip begins, in this order.
        seconds: Length of a clip.

    Returns:
        Numbers of groups; -1 for a clip that reaches from one stretch into the next.
    """
    size = Counter(recording for recording, _ in clips)
    if len(size) >= LEAST_RECORDINGS:
        return [recording for recording, _ in clips]
    each = -(-_STRETCHES // max(1, len(size)))
    found: list[int] = []
    seen: Counter[int] = Counter()
    last, end = -1, 0.0
    for recording, start in clips:
        number = each * recording + seen[recording] * each // size[recording]
        shared = number != last and last // each == recording and last >= 0 and start < end
        seen[recording] += 1
        found.append(-1 if shared else number)
        if not shared:
            last, end = number, start + seconds
    return found


def _chosen(clips: Sequence[Clip], part: float) -> set[str]:
    """The units of a domain to hold out: from the class that lacks most, at most half of each class."""
    classes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for clip in clips:
        classes[clip.attributes.casefold()][_unit(clip)] += 1
    wanted = max(part * len(clips), min(_LEAST, len(clips) // 3))
    open_to = {name: _in_any_order(units)[: len(units) // 2] for name, units in classes.items()}
    lacking = {name: wanted * sum(units.values()) / len(clips) for name, units in classes.items()}
    chosen: set[str] = set()
    held = 0
    while held < wanted and any(open_to.values()):
        name = max((name for name, units in open_to.items() if units), key=lambda one: (lacking[one], one))
        unit = open_to[name].pop()
        chosen.add(unit)
        held += classes[name][unit]
        lacking[name] -= classes[name][unit]
    return chosen


def _in_any_order(units: dict[str, int]) -> list[str]:
    """An order that the names do not foretell, the same everywhere."""
    return sorted(units, key=lambda unit: hashlib.sha256(unit.encode()).digest())
