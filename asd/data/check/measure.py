"""What can be measured in one audio file: length, level, and whether anything is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asd.data.audio.decoding import AudioError, opened, unusable
from asd.data.audio.recorded import Meter, Recorded
from asd.data.audio.samples import why_broken_range, why_dead_range, zeros_worth_a_remark
from asd.data.check.duplicates import Fingerprint
from asd.data.clip import Clip

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
        print: How the energy of the first channel moves, see `duplicates`; ``None``: nothing to tell it by.
        recorded: How the file was recorded; ``None``: it cannot be read, or is shorter than a frame.
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
    recorded: Recorded | None = None


@dataclass(slots=True)
class _Levels:
    """What adds up over the blocks of a file."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    least: NDArray[np.float32]
    total: NDArray[np.float64]
    energy: float = 0.0
    frames: int = 0
    at_limit: int = 0
    run: bool = False
    zeros: int = 0


def measure(clip: Clip) -> FileFacts:
    """Read one file; what is wrong with it stands in the result."""
    path = str(clip.sound)
    try:
        with opened(clip.sound) as file:
            rate, channels, noted = file.samplerate, file.channels, file.remark
            digest = hashlib.blake2b(f"{rate} {channels}".encode(), digest_size=16)
            fingerprint, meter = Fingerprint(rate), Meter()
            meter.open(file)
            nothing = np.full(channels, np.inf, np.float32)
            levels = _Levels(nothing, -nothing, nothing, np.zeros(channels))
            for block in file.parts(max(1, _BLOCK // channels)):
                _add(levels, block)
                digest.update(block.data)
                fingerprint.add(block[:, 0])
                if np.isfinite(levels.energy):
                    meter.add(block.mean(1) if channels > 1 else block[:, 0])
    except AudioError as error:
        return FileFacts(clip, fault=str(error))
    fault, remarks = _findings(levels, rate)
    remarks += [noted] if noted else []
    energy = levels.energy / max(1, levels.frames * channels)
    level = float(10 * np.log10(energy)) if np.isfinite(energy) and energy > 0 else -np.inf
    known = not fault
    return FileFacts(
        clip, rate, channels, levels.frames / rate, level,
        str(unusable(path, fault)) if fault else "",
        f"{path}: {'; '.join(remarks)}" if remarks and not fault else "",
        digest.digest() if known else b"", fingerprint.finish() if known else None,
        meter.recorded() if known else None,
    )  # fmt: skip


def _add(levels: _Levels, block: NDArray[np.float32]) -> None:
    magnitude = np.abs(block)
    levels.low = np.minimum(levels.low, block.min(axis=0))
    levels.high = np.maximum(levels.high, block.max(axis=0))
    levels.least = np.minimum(levels.least, magnitude.min(axis=0))
    levels.total += block.sum(axis=0, dtype=np.float64)
    levels.energy += float(np.vdot(block, block))
    levels.frames += len(block)
    if magnitude.max() >= FULL_SCALE:
        full = magnitude >= FULL_SCALE
        levels.at_limit += int(full.sum())
        if len(full) >= CLIPPED_RUN:
            windows = [full[i : len(full) - CLIPPED_RUN + 1 + i] for i in range(CLIPPED_RUN)]
            levels.run |= bool(np.logical_and.reduce(windows).any())
    if block[-1].any():
        levels.zeros = 0
    else:
        sounding = np.flatnonzero(block.any(axis=1))
        levels.zeros = len(block) - 1 - int(sounding[-1]) if len(sounding) else levels.zeros + len(block)


def _findings(levels: _Levels, sample_rate: int) -> tuple[str, list[str]]:
    """What must be mended in a file, and what is worth knowing."""
    low, high = levels.low, levels.high
    if broken := why_broken_range(float(low.min()), float(high.max())):
        return broken, []
    dead = [why_dead_range(*map(float, one)) for one in zip(low, high, levels.least, strict=True)]
    if all(dead):
        return dead[0], []
    remarks = []
    if levels.run:
        remarks.append(f"clipped, {levels.at_limit} samples at full scale")
    remarks += [f"channel {n} of {len(dead)} is {why.partition(',')[0]}" for n, why in enumerate(dead) if why]
    if zeros := zeros_worth_a_remark(levels.zeros, levels.frames, sample_rate):
        remarks.append(f"ends in {zeros:.1f} s of zeros, its recorder may have stopped")
    offset = levels.total / max(1, levels.frames)
    if np.abs(offset).max() > DC_LIMIT:
        remarks.append(f"DC offset of {offset[np.abs(offset).argmax()]:+.3f} of full scale")
    return "", remarks
