"""The clock of this machine, which may be set while the program runs."""

from __future__ import annotations

import time

_SET = 1.0
"""Seconds by which it must have jumped to have been set; less is how it is usually corrected."""

_LIVE = 60.0
"""Seconds that a stream may be behind; one that is more was recorded before."""

_SLOWNESS = 1e-4


class StreamClock:
    """Tells when the seconds of a stream were, which is made while it is listened to.

    Where the clock is set, what comes afterwards follows it. The clock of a microphone is never quite this one: over
    the hours the difference is taken up.

    Args:
        heard: Seconds of the stream so far.

    Attributes:
        since: When it began, in seconds since 1970.
    """

    def __init__(self, heard: float = 0.0) -> None:
        self.since = time.time() - heard
        self._apart = time.time() - time.monotonic()

    def follow(self, heard: float) -> float:
        """So much was heard by now; returns by how many seconds the clock was set since the last call, usually 0."""
        now = time.time()
        apart = now - time.monotonic()
        by = apart - self._apart
        self._apart = apart
        if abs(by) > _SET:
            self.since += by
            return by
        behind = now - heard - self.since
        self.since += _SLOWNESS * behind if abs(behind) < _LIVE else 0.0
        return 0.0
