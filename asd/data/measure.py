"""What can be measured in one audio file: length, level, and whether anything is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from asd.data.audio import FULL_SCALE_LIMIT, AudioError, opened
from asd.data.clip import Clip
from asd.data.fingerprint import Fingerprint

FULL_SCALE = 1 - 1.5 / 32768
"""The highest and the lowest two values of 16-bit samples are full scale; converters stop at either."""

CLIPPED_RUN = 3
"""Samples at full scale in a row that are taken for clipping; a single one is the peak of a normalised file."""

DC_LIMIT = 0.01
"""Mean of the samples, as a part of full scale, from which on it is worth a remark."""

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
        digest: Of the samples; equal for files that hold the same. Empty where the file cannot be read.
        print: How the energy of the first channel moves, see `asd.data.fingerprint`; ``None``: nothing to tell it by.
    """

    clip: Clip
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    level: float = -np.inf
    fault: str = ""
    remark: str = ""
    digest: bytes = b""
    print: NDArray[np.float32] | None = None


@dataclass(slots=True)
class _Levels:
    """What adds up over the blocks of a file."""

    peak: NDArray[np.float32]
    total: NDArray[np.float64]
    energy: float = 0.0
    frames: int = 0
    at_limit: int = 0
    run: bool = False


def measure(clip: Clip) -> FileFacts:
    """Read one file; what is wrong with it stands in the result."""
    path = clip.path
    try:
        with opened(clip.sound) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            digest = hashlib.blake2b(f"{rate} {channels}".encode(), digest_size=16)
            fingerprint = Fingerprint(rate)
            levels = _Levels(np.zeros(channels, np.float32), np.zeros(channels))
            for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
                _add(levels, block)
                digest.update(block.data)
                fingerprint.add(block[:, 0])
    except AudioError as error:
        return FileFacts(clip, fault=str(error))
    except (soundfile.SoundFileError, OSError) as error:
        return FileFacts(clip, fault=f"{path}: cannot be decoded ({error}); replace the file")
    fault, remark = _findings(str(path), levels, channels)
    energy = levels.energy / max(1, levels.frames * channels)
    level = float(10 * np.log10(energy)) if np.isfinite(energy) and energy > 0 else -np.inf
    known = not fault
    return FileFacts(
        clip, rate, channels, frames / rate, level, fault, remark,
        digest.digest() if known else b"", fingerprint.finish() if known else None,
    )  # fmt: skip


def _add(levels: _Levels, block: NDArray[np.float32]) -> None:
    magnitude = np.abs(block)
    levels.peak = np.maximum(levels.peak, magnitude.max(axis=0))
    levels.total += block.sum(axis=0, dtype=np.float64)
    levels.energy += float(np.vdot(block, block))
    levels.frames += len(block)
    if magnitude.max() >= FULL_SCALE:
        full = magnitude >= FULL_SCALE
        levels.at_limit += int(full.sum())
        if len(full) >= CLIPPED_RUN:
            windows = [full[i : len(full) - CLIPPED_RUN + 1 + i] for i in range(CLIPPED_RUN)]
            levels.run |= bool(np.logical_and.reduce(windows).any())


def _findings(path: str, levels: _Levels, channels: int) -> tuple[str, str]:
    """What must be mended in a file, and what is worth knowing."""
    peak = levels.peak
    if not np.isfinite(peak).all():
        return f"{path}: holds samples that are not finite (NaN or infinity); remove or replace the file", ""
    silent = [str(channel) for channel in np.flatnonzero(peak == 0)]
    if len(silent) == channels:
        return f"{path}: silent, every sample is zero; remove or replace the file", ""
    if peak.max() > FULL_SCALE_LIMIT:
        return f"{path}: samples reach {peak.max():.3g} where full scale is 1; scale the file to [-1, 1]", ""
    remarks = []
    if levels.run:
        remarks.append(f"clipped, {levels.at_limit} samples at full scale")
    if silent:
        remarks.append(f"channel {', '.join(silent)} of {channels} is silent")
    offset = levels.total / max(1, levels.frames)
    if np.abs(offset).max() > DC_LIMIT:
        remarks.append(f"DC offset of {offset[np.abs(offset).argmax()]:+.3f} of full scale")
    return "", f"{path}: {'; '.join(remarks)}" if remarks else ""
