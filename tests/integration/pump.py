"""A pump that was never trained on: its sound, with and without a fault, and a detector that knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from asd.inference import enroll

RATE = 16000


def hum(seed: int, seconds: float, fault: float = 0.0) -> np.ndarray:
    """A hum of 100 Hz in noise; its fault is a whistle."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    return 0.2 * np.sin(2 * np.pi * 100 * time) + fault * np.sin(2 * np.pi * 3100 * time) + noise


def knowing(trained: Path, folder: Path, seconds: float = 4) -> Path:
    """The checkpoint of a run, to which the pump is enrolled by six recordings."""
    (folder / "normal").mkdir()
    for day in range(6):
        soundfile.write(folder / f"normal/{day}.flac", hum(day, seconds), RATE)
    return enroll(trained, "pump", folder / "normal", folder / "pump.ckpt").path
