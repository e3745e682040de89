"""Which microphone is heard: all channels, one of them, or the near one without the noise that the far one hears."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from asd.data.audio.samples import Samples, why_dead
from asd.errors import UserError

Channels = int | Literal["mean", "near", "far", "near_minus_far"]
"""What is asked for by a user."""

Channel = int | Literal["near_minus_far"] | None
"""The same in short: a number from 0, ``None`` for the mean of all, or the difference of the first two."""

NEAR_MINUS_FAR: Final = "near_minus_far"
NEAR, FAR = 0, 1
_NAMES: dict[object, Channel] = {"mean": None, "near": NEAR, "far": FAR, NEAR_MINUS_FAR: NEAR_MINUS_FAR}

PCM_STEP = 1 / 32768
"""Value of one step of a 16-bit sample."""

_LEAST_LEFT = 1e-6
"""Part of the near channel's energy that two microphones leave at least; two copies of one leave less."""


def channel_of(channels: object, channel: object = None) -> Channel:
    """The channel that is asked for as `Channels`, or by the earlier option.

    Args:
        channels: A number from 0 or a name; ``None``: the mean.
        channel: What the option was called before, with the same values; ``None``: not given.

    Raises:
        UserError: There is no such channel, or both are given.
    """
    if channel is not None and channels not in (None, "mean"):
        raise UserError(
            f"data.channels is {channels!r} and data.channel, its earlier name, {channel!r}; give data.channels alone "
            "(data.channel=null)"
        )
    name, given = ("channels", channels) if channel is None else ("channel", channel)
    if given is None or (isinstance(given, str) and given in _NAMES):
        return _NAMES[given or "mean"]
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise UserError(f"data.{name} must be at least 0, near, far, near_minus_far or mean, got {repr(given)[:50]}")
    return given


def why_missing(channel: Channel, channels: int, sound: str = "the file has") -> str:
    """Why `sound` of so many channels does not have what is asked for; empty: it has."""
    if channel == NEAR_MINUS_FAR:
        return "" if channels >= 2 else f"near_minus_far takes a near and a far channel, {sound} {channels}"
    return (
        ""
        if channel is None or 0 <= channel < channels
        else f"no channel {channel}, {sound} {channels} (counted from 0)"
    )


def selected(samples: Samples, channel: Channel) -> Samples:
    """Of ``(T, C)`` what `heard` needs: ``(T,)``, or ``(T, C)`` where more than one channel counts."""
    if channel == NEAR_MINUS_FAR:
        return samples[:, :2]
    return samples[:, channel or 0] if channel is not None or samples.shape[1] == 1 else samples


def heard(samples: Samples, channel: Channel, sample_rate: int) -> tuple[Samples, str]:
    """What is heard of `selected` samples, ``(T,)``, and why that is nothing, see `samples.why_dead`."""
    if samples.ndim == 1:
        return samples, why_dead(samples)
    if channel == NEAR_MINUS_FAR:
        return _near_minus_far(samples, sample_rate)
    dead = why_dead(samples)
    mean = in_float(samples).mean(axis=1, dtype=np.float32)
    return mean, dead or why_dead(mean)


def in_float(samples: Samples) -> NDArray[np.float32]:
    """Samples in [-1, 1] as float32."""
    # The same values as libsndfile's float32, in a third of its time.
    return samples * np.float32(PCM_STEP) if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def _near_minus_far(samples: Samples, sample_rate: int) -> tuple[Samples, str]:
    # Here, because torch takes seconds to load, and whoever looks at files needs none.
    import torch

    from asd.data.audio.near_minus_far import WINDOW_SECONDS, near_minus_far, window_samples

    near, far = np.ascontiguousarray(in_float(samples).T)
    if len(near) < window_samples(sample_rate):
        return near, f"shorter than the {1000 * WINDOW_SECONDS:g} ms that near_minus_far needs"
    for name, one in (("near", near), ("far", far)):
        if why := why_dead(one):
            return near, f"its {name} channel is {why}"
    left: NDArray[np.float32] = near_minus_far(torch.from_numpy(near), torch.from_numpy(far), sample_rate).numpy()
    if np.vdot(left, left) < _LEAST_LEFT * np.vdot(near, near):
        return left, "near and far channel are the same sound, and near_minus_far leaves nothing of it"
    return left, ""
