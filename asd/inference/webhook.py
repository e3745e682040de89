"""Messages to a web address, without making whoever sends them wait."""

from __future__ import annotations

import queue
import sys
import threading
import urllib.request
from typing import Any

from asd.errors import UserError
from asd.utils import strict_json

_HELD = 1000
_TRIES = 3
_TIMEOUT = 10.0


class Webhook:
    """POSTs JSON objects from a thread of its own; what cannot be delivered after three tries is dropped and said.

    Args:
        url: http or https.
        pause: Seconds before the second try; doubled for the third.
    """

    def __init__(self, url: str, pause: float = 1.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"--webhook is {url!r}; give an address that begins with http:// or https://")
        self.url, self.pause = url, pause
        self.dropped = 0
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(_HELD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; dropped where a thousand wait already."""
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self.dropped += 1

    def close(self, seconds: float = 30.0) -> None:
        """Deliver what waits, for so long at most."""
        self._queue.put(None)
        self._thread.join(seconds)
        self._stop.set()

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            for number in range(_TRIES):
                reason = self._post(message)
                if not reason or self._stop.wait(self.pause * 2**number if number < _TRIES - 1 else 0):
                    break
            if reason:
                self.dropped += 1
                print(f"asd: warning: {self.url}: message not delivered ({reason})", file=sys.stderr)

    def _post(self, message: dict[str, Any]) -> str:
        request = urllib.request.Request(
            self.url, strict_json.dumps(message).encode(), {"Content-Type": "application/json", "User-Agent": "asd"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT):
                return ""
        except (OSError, ValueError) as error:
            return " ".join(str(error).split())
