"""What can be measured in one audio file: length, level, and whether anything is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asd.data.audio import FULL_SCALE_LIMIT, AudioError, read_header
from asd.data.clip import Clip

FULL_SCALE = 1 - 1.5 / 32768
"""The highest and the lowest two values of 16-bit samples are full scale; converters stop at either."""

CLIPPED_RUN = 3
"""Samples at full scale in a row that are taken for clipping; a single one is the peak of a normalised file."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was measured in one file.

    Attributes:
        clip: The clip.
        sample_rate: Hz; 0 where the file cannot be read.
        channels: Number of channels.
        seconds: Duration.
        level: RMS over all channels in dB relative to full scale; minus infinity for silence.
        fault: Why the file cannot be used; empty: it can.
        remark: What is worth knowing though the file can be used; empty: nothing.
    """

    clip: Clip
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    level: float = -np.inf
    fault: str = ""
    remark: str = ""


def measure(clip: Clip) -> FileFacts:
    """Read one file; what is wrong with it stands in the result."""
    path = clip.path
    try:
        header = read_header(path)
        peak, energy, clipped = _levels(path)
    except AudioError as error:
        return FileFacts(clip, fault=str(error))
    except (soundfile.SoundFileError, OSError) as error:
        return FileFacts(clip, fault=f"{path}: cannot be decoded ({error}); replace the file")
    fault = remark = ""
    silent = [str(channel) for channel in np.flatnonzero(peak == 0)]
    if not np.isfinite(peak).all():
        fault = f"{path}: holds samples that are not finite (NaN or infinity); remove or replace the file"
    elif len(silent) == header.channels:
        fault = f"{path}: silent, every sample is zero; remove or replace the file"
    elif peak.max() > FULL_SCALE_LIMIT:
        fault = f"{path}: samples reach {peak.max():.3g} where full scale is 1; scale the file to [-1, 1]"
    elif clipped:
        remark = f"{path}: clipped, {clipped} samples at full scale"
    elif silent:
        remark = f"{path}: channel {', '.join(silent)} of {header.channels} is silent"
    level = float(10 * np.log10(energy)) if np.isfinite(energy) and energy > 0 else -np.inf
    seconds = header.frames / header.sample_rate
    return FileFacts(clip, header.sample_rate, header.channels, seconds, level, fault, remark)


def _levels(path: Path) -> tuple[NDArray[np.float32], float, int]:
    """Peak of each channel, mean square, and number of samples at full scale where several are in a row."""
    energy, samples, at_limit, run = 0.0, 0, 0, False
    peak = np.zeros(1, dtype=np.float32)
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
            magnitude = np.abs(block)
            peak = np.maximum(peak, magnitude.max(axis=0))
            energy += float(np.vdot(block, block))
            samples += block.size
            if magnitude.max() >= FULL_SCALE:
                full = magnitude >= FULL_SCALE
                at_limit += int(full.sum())
                windows = [full[i : len(full) - CLIPPED_RUN + 1 + i] for i in range(CLIPPED_RUN)]
                run = run or bool(np.logical_and.reduce(windows).any()) if len(full) >= CLIPPED_RUN else run
    return peak, energy / max(1, samples), at_limit if run else 0
