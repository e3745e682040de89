"""Events to a web address."""

from __future__ import annotations

import urllib.error
import urllib.request

from asd.errors import UserError
from asd.events.delivery import DeliveryError
from asd.events.event import Event
from asd.utils import strict_json

_TIMEOUT = 10.0
_REFUSED = frozenset({400, 409, 410, 413, 415, 422})
"""What a receiver answers that understood the request and will never take this event."""


class Webhook:
    """POSTs events as JSON objects.

    Args:
        url: http or https.

    Raises:
        UserError: Another address.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"--webhook is {url!r}; give an address that begins with http:// or https://")
        self.url = self.name = url

    def refresh(self) -> None:
        """Nothing: each event is a connection of its own."""

    def send(self, event: Event) -> None:
        """POST it."""
        headers = {"Content-Type": "application/json", "User-Agent": "asd"}
        try:
            request = urllib.request.Request(self.url, strict_json.dumps(event).encode(), headers)
            with urllib.request.urlopen(request, timeout=_TIMEOUT):
                return
        except urllib.error.HTTPError as error:
            raise DeliveryError(f"{error.code} {error.reason}", refused=error.code in _REFUSED) from error
        except (OSError, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            raise DeliveryError(getattr(cause, "strerror", None) or str(cause) or type(error).__name__) from error

    def close(self) -> None:
        """Nothing."""
