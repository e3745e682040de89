"""What a detector is given: a file, or samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asd.data.audio.decoding import read_header
from asd.data.audio.recorded import Meter
from asd.errors import UserError
from asd.inference.windows import Cut, windows_of, windows_of_array
from asd.utils.text import as_text

Source = Path | str | NDArray[np.floating] | Tensor
"""A file, or samples ``(T,)`` or ``(T, C)`` in [-1, 1]."""


def name_of(source: Source) -> str:
    """What a file is called in results; of samples, nothing."""
    return as_text(str(source)) if isinstance(source, (str, Path)) else ""


def length_of(source: Source, sample_rate: int | None, cut: Cut) -> float:
    """Seconds; 0 of samples without their rate."""
    if isinstance(source, (str, Path)):
        header = read_header(Path(source), cut.channel)
        return header.frames / header.sample_rate
    return len(source) / sample_rate if sample_rate else 0.0


def windows_in(
    source: Source, sample_rate: int | None, cut: Cut, meter: Meter | None
) -> Iterator[tuple[float, Tensor]]:
    """Start in seconds and samples ``(T,)`` of each window.

    Raises:
        AudioError: The recording cannot be used.
        UserError: Samples without their rate.
    """
    if isinstance(source, (str, Path)):
        return windows_of(source, cut, meter=meter)
    if sample_rate is None:
        raise UserError("the samples have no rate; give sample_rate in Hz")
    return windows_of_array(source, sample_rate, cut, meter)
