"""Writing 16-bit WAV files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def write_wav(path: Path, samples: NDArray[np.floating], sample_rate: int) -> None:
    """Write samples ``(T,)`` or ``(T, C)`` in [-1, 1] at `sample_rate` Hz, in 16 bits.

    Raises:
        OSError: It cannot be written; libsndfile would not say why.
    """
    held = io.BytesIO()
    soundfile.write(held, samples, sample_rate, "PCM_16", format="WAV")
    path.write_bytes(held.getvalue())
