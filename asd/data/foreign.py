"""Compressed formats that libsndfile does not read, such as the m4a of a phone: decoded by audioread through ffmpeg."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import soundfile

FOREIGN = (".m4a", ".aac", ".mp4", ".wma", ".amr", ".3gp")


@functools.lru_cache(maxsize=2)
def as_wav(path: Path) -> bytes:
    """The recording as a 16-bit WAV file; the last two are kept, because a recording is cut into many clips.

    Raises:
        OSError: It cannot be decoded, or no program that decodes it is installed.
    """
    import audioread
    import numpy as np

    try:
        with audioread.audio_open(str(path)) as file:
            samples = np.frombuffer(b"".join(file), "<i2").reshape(-1, file.channels)
            rate = file.samplerate
    except audioread.NoBackendError as error:
        raise OSError("it is broken, or ffmpeg, which decodes this format, is not installed") from error
    except (audioread.DecodeError, EOFError, ValueError) as error:
        raise OSError(f"decoding stopped: {type(error).__name__}") from error
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate, "PCM_16", format="WAV")
    return wav.getvalue()
