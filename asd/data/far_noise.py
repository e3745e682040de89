"""Background noise from a far microphone, for machines of which nobody recorded the noise alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from asd.data.audio.channels import FAR
from asd.data.clip import Clip, Condition, Kind, Split


def with_far_noise(clips: Sequence[Clip], part: float) -> list[Clip]:
    """The clips, and of each machine without noise clips the far channel of some normal training clips, as noise.

    They are taken evenly from the list, at least one of a machine; none from clips that are kept for calibration.

    Args:
        clips: Clips of any split and kind.
        part: Of the normal training clips of a machine, from 0 to 1.
    """
    noisy = {clip.machine for clip in clips if clip.kind == Kind.NOISE}
    machines: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips if part else ():
        normal = clip.split == Split.TRAIN and clip.kind == Kind.MACHINE and clip.condition != Condition.ANOMALY
        if normal and not clip.calibration and clip.machine not in noisy:
            machines[clip.machine].append(clip)
    return [*clips, *(_noise(clip) for own in machines.values() for clip in _spread(own, part))]


def _spread(clips: Sequence[Clip], part: float) -> list[Clip]:
    count = max(1, round(part * len(clips)))
    return [clips[at * len(clips) // count] for at in range(count)]


def _noise(clip: Clip) -> Clip:
    return replace(
        clip,
        split=Split.SUPPLEMENTAL,
        domain=None,
        condition=None,
        attributes="",
        kind=Kind.NOISE,
        name=f"{clip.title} (far)",
        channel=FAR,
    )
