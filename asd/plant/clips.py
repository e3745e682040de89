"""The sound around events, kept on disk within bounds."""

from __future__ import annotations

import io
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asd.inference.stream import Block
from asd.utils.files import written
from asd.utils.log import logger

_OURS = re.compile(r"[A-Za-z0-9_-]+_\d{8}T\d{6}Z_[0-9a-f]{8}\.flac")
_MOST_CHANNELS = 8  # that FLAC takes


class Clips:
    """A folder of recordings, of which the oldest go when it is full; other files in it are left alone.

    Args:
        folder: Made where it is not there.
        megabytes: That they take at most.
    """

    def __init__(self, folder: Path, megabytes: float) -> None:
        self.folder, self.most = folder, round(megabytes * 1e6)
        self._lock, self._failing = threading.Lock(), False

    def keep(self, source: str, samples: NDArray[np.float32], sample_rate: int) -> str | None:
        """Write samples ``(n, C)``; returns the path, or ``None`` where they cannot be kept, which is said once."""
        with self._lock:
            # A name is never used again, also where its clip is gone: an event that was told names it.
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            path = self.folder / f"{source}_{stamp}_{uuid.uuid4().hex[:8]}.flac"
            try:
                content = io.BytesIO()  # libsndfile does not say why a file cannot be written
                soundfile.write(content, samples[:, :_MOST_CHANNELS], sample_rate, format="FLAC", subtype="PCM_16")
                with written(path) as place:
                    place.write_bytes(content.getvalue())
                self._trim(path)
            except (OSError, soundfile.SoundFileError) as error:
                if not self._failing:
                    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
                    logger.warning("asd: warning: %s: no clip can be kept (%s); events have none", self.folder, reason)
                self._failing = True
                return None
            self._failing = False
            return str(path.absolute())

    def _trim(self, newest: Path) -> None:
        """Remove the oldest; the newest stays, however large."""
        ours = [path for path in self.folder.iterdir() if _OURS.fullmatch(path.name)]
        facts = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in ours)
        total = sum(size for _, size, _ in facts)
        for _, size, path in facts:
            if total <= self.most or path == newest:
                return
            path.unlink(missing_ok=True)
            total -= size


class Recorder:
    """Remembers the last seconds of a stream, and all of an event up to a bound.

    Args:
        sample_rate: Hz.
        before: Seconds before an event that belong to it.
        longest: Seconds of an event, with those before it, that are remembered.
        late: Seconds after its beginning in which an event may be told.
        begin: Seconds of the stream that came before.
    """

    def __init__(self, sample_rate: int, before: float, longest: float, late: float, begin: float = 0.0) -> None:
        self.rate, self.before, self.longest = sample_rate, before, longest
        self._remembered = before + late
        self._parts: deque[tuple[float, NDArray[np.float32]]] = deque()
        self._time, self._since = begin, np.inf

    def tap(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks."""
        for block in blocks:
            self._take(block)
            yield block

    def begin(self, start: float) -> None:
        """An event began at `start` seconds of the stream."""
        self._since = start - self.before

    def end(self) -> NDArray[np.float32]:
        """Samples ``(n, C)`` of the event that began; none where nothing was heard."""
        parts = [self._cut(begin, samples) for begin, samples in self._parts]
        self._since = np.inf
        found = np.concatenate([np.empty((0, parts[0].shape[1] if parts else 1), np.float32), *parts])
        return found[: round(self.longest * self.rate)]

    def _cut(self, begin: float, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return samples[max(0, round((self._since - begin) * self.rate)) :]

    def _take(self, block: Block) -> None:
        self._time += block.lost / self.rate
        if self._time < self._since + self.longest:
            self._parts.append((self._time, block.samples))
        self._time += len(block.samples) / self.rate
        oldest = min(self._since, self._time - self._remembered)
        while self._parts and self._parts[0][0] + len(self._parts[0][1]) / self.rate <= oldest:
            self._parts.popleft()
