"""Files of a machine that were recorded otherwise than most of them: another bandwidth, codec or level."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from asd.data.audio.recorded import Recorded
from asd.data.check.measure import FileFacts
from asd.data.clip import Condition, Domain, Kind

_NARROW = 0.75
"""Part of the usual bandwidth of a machine's files from which on a file has less; filters differ by less."""

_LOUDNESS_DB, _DEVIATIONS = 15.0, 6.0
"""A level farther from the usual one than both, the second in median deviations, is another gain or place."""

_LEAST_FILES = 4
"""Of fewer files none can be called the odd one by its level."""

_NAMED = 3


def recorded_otherwise(files: Iterable[FileFacts]) -> list[str]:
    """What differs among the recordings of each machine, a line each."""
    machines: dict[str, list[tuple[FileFacts, Recorded]]] = defaultdict(list)
    for file in files:
        if file.recorded is not None and file.clip.kind == Kind.MACHINE:
            machines[file.clip.machine].append((file, file.recorded))
    return [f"{name}: {line}" for name, some in sorted(machines.items()) for line in _lines(some)]


def _lines(some: Sequence[tuple[FileFacts, Recorded]]) -> Iterator[str]:
    usual = float(np.median([one.bandwidth for _, one in some]))
    widest = max(one.bandwidth for _, one in some)
    # Where most are narrow, the others are no better for it, but the difference is the same.
    wide = usual if usual > _NARROW * widest else widest
    narrow = [(file, one) for file, one in some if one.bandwidth <= _NARROW * wide]
    if narrow:
        low, high = (end(one.bandwidth for _, one in narrow) / 1000 for end in (min, max))
        span = f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
        # Its rate says more than it holds.
        upsampled = all(one.bandwidth < _NARROW * one.sample_rate / 2 for _, one in narrow)
        cause = "they were resampled or compressed once" if upsampled else "their sample rate is lower"
        yield (
            f"{_count(narrow, some)} no more than {span} kHz of bandwidth where others have {wide / 1000:.2g} kHz, "
            f"{cause}: {_names(narrow)}; record all alike, or set data.band to shared"
        )
    lossy = [(file, one) for file, one in some if one.lossy]
    if 0 < len(lossy) < len(some):
        codecs = Counter(one.codec for _, one in lossy)
        other = Counter(one.codec for _, one in some if not one.lossy)
        yield (
            f"{len(lossy)} of {len(some)} files {_are(lossy)} {' or '.join(sorted(codecs))}, a lossy codec, beside "
            f"{' and '.join(sorted(other))}: {_names(lossy)}; record all alike"
        )
    domains: dict[Domain | None, list[tuple[FileFacts, Recorded]]] = defaultdict(list)
    for file, one in some:
        if file.clip.condition != Condition.ANOMALY:  # a fault may be loud, and so may be the conditions of a domain
            domains[file.clip.domain].append((file, one))
    for alike in domains.values():
        yield from _levels(alike)


def _levels(some: Sequence[tuple[FileFacts, Recorded]]) -> Iterator[str]:
    levels = np.array([one.level for _, one in some])
    usual = float(np.median(levels))
    away = np.abs(levels - usual)
    most = max(_LOUDNESS_DB, _DEVIATIONS * float(np.median(away)))
    odd = [pair for pair, distance in zip(some, away, strict=True) if distance > most]
    if odd and len(some) >= _LEAST_FILES:
        span = ", ".join(f"{one.level:.0f}" for _, one in odd[:_NAMED])
        yield (
            f"{_count(odd, some)} a level far from the usual {usual:.0f} dBFS ({span}): {_names(odd)}; "
            "was the gain changed, or the machine off?"
        )


def _count(odd: Sequence[object], some: Sequence[object]) -> str:
    return f"{len(odd)} of {len(some)} files {'has' if len(odd) == 1 else 'have'}"


def _are(odd: Sequence[object]) -> str:
    return "is" if len(odd) == 1 else "are"


def _names(odd: Sequence[tuple[FileFacts, Recorded]]) -> str:
    more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    return ", ".join(str(file.clip.path) for file, _ in odd[:_NAMED]) + more
