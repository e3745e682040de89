"""Events to an MQTT broker, and the state of each source as what the broker keeps for whoever asks."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from asd.errors import UserError
from asd.events import discovery
from asd.events.delivery import DeliveryError
from asd.events.event import Event
from asd.utils import strict_json

PASSWORD = "ASD_MQTT_PASSWORD"
"""The variable that the password may be in."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_PATIENCE = 10.0
_KEEP_ALIVE = 30


class Address(NamedTuple):
    """Where a broker is, and below which topic everything is published.

    Attributes:
        tls: Whether the connection is encrypted.
        host: Its name or address.
        port: Its port.
        user: Who asks; empty: nobody in particular.
        topic: Without a slash at its ends.
    """

    tls: bool
    host: str
    port: int
    user: str
    topic: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """What ``mqtts://user@broker:8883/plant/hall`` says.

        Raises:
            UserError: Another form, or a password in it, which every other user of the machine could read.
        """
        form = "give one such as mqtts://user@broker/plant/hall"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UserError(f"--mqtt is no address ({error}); {form}") from error
        if parts.password is not None:
            raise UserError(f"--mqtt holds a password; leave it out of the address, set {PASSWORD} or a password file")
        topic = unquote(parts.path).strip("/")
        more = parts.query or parts.fragment or "#" in url
        if more or parts.scheme not in _PORTS or not parts.hostname or not topic or any(one in topic for one in "+\0"):
            raise UserError(f"--mqtt is {url!r}; {form}")
        return cls(
            parts.scheme == "mqtts", parts.hostname, port or _PORTS[parts.scheme], unquote(parts.username or ""), topic
        )


def password_of(path: Path | None) -> str | None:
    """The password in that file, or else in the variable `PASSWORD`; ``None``: there is none.

    Raises:
        UserError: The file cannot be read.
    """
    if path is None:
        return os.environ.get(PASSWORD)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"--mqtt-password-file {path} cannot be read ({reason}); give a file with one line") from error


class Mqtt:
    """Publishes below a topic: ``status`` (online, offline as the last will), ``SOURCE/state`` and ``SOURCE/event``.

    What is a state is kept by the broker; an event is published once it is acknowledged (quality of service 1).

    Args:
        address: The broker.
        password: Of the user.
        sources: Names of the sources, and the machine of each.
        authorities: A file of certificates to trust; ``None``: those of the system.
        prefix: Where Home Assistant looks for sensors; empty: they are not told.

    Raises:
        UserError: The certificates cannot be read.
    """

    def __init__(
        self,
        address: Address,
        password: str | None,
        sources: Mapping[str, str],
        authorities: Path | None = None,
        prefix: str = "homeassistant",
    ) -> None:
        self.address, self.password, self.sources = address, password, dict(sources)
        self.authorities = authorities
        self.name = f"mqtt{'s' if address.tls else ''}://{address.host}:{address.port}/{address.topic}"
        known = "\n".join([address.topic, *sorted(self.sources)])
        # The same at the next start: the broker then ends the old connection, and its last will, before the new one.
        self.client_id = f"asd-{hashlib.sha256(known.encode()).hexdigest()[:16]}"
        self._fixed = {
            topic: strict_json.dumps(content)
            for source, machine in (self.sources.items() if prefix else ())
            for topic, content in discovery.configs(prefix, address.topic, source, machine).items()
        }
        self._states: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._client: Client | None = None
        self._answered, self._reason = threading.Event(), ""
        self._new_client()

    def state(self, source: str, content: Mapping[str, Any]) -> None:
        """Set the state of a source, which is published as soon as it can be."""
        self._states[f"{self.address.topic}/{source}/state"] = strict_json.dumps(dict(content))

    def refresh(self) -> None:
        """Connect where there is no connection, and publish what has changed of the states."""
        if self._client is None or not self._client.is_connected():
            self._connect()
        for topic, content in list(self._states.items()):
            if self._told.get(topic) != content:
                self._publish(topic, content, retain=True)
                self._told[topic] = content

    def send(self, event: Event) -> None:
        """Publish an event."""
        self._publish(f"{self.address.topic}/{event['source']}/event", strict_json.dumps(event), retain=False)

    def close(self) -> None:
        """Say that nobody listens any more."""
        if self._client is not None and self._client.is_connected():
            info = self._client.publish(self._status, "offline", qos=1, retain=True)
            _arrived(info, 2.0)
        self._drop()

    @property
    def _status(self) -> str:
        return f"{self.address.topic}/status"

    def _new_client(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, reconnect_on_failure=False)
        client.will_set(self._status, "offline", qos=1, retain=True)
        if self.address.user:
            client.username_pw_set(self.address.user, self.password)
        if self.address.tls:
            try:
                client.tls_set(None if self.authorities is None else str(self.authorities))
            except OSError as error:
                raise UserError(f"--mqtt-ca {self.authorities}: {error}; give a file of certificates (PEM)") from error

        def connected(_: Client, __: Any, ___: Any, code: Any, ____: Any) -> None:
            self._reason = f"{code}; check user and password" if code.is_failure else ""
            self._answered.set()

        def disconnected(_: Client, __: Any, ___: Any, code: Any, ____: Any) -> None:
            if not self._answered.is_set():
                self._reason = f"the connection ended ({code})"
                self._answered.set()

        client.on_connect, client.on_disconnect = connected, disconnected
        return client

    def _connect(self) -> None:
        self._drop()
        self._answered.clear()
        self._reason = "the broker does not answer"
        client = self._new_client()
        try:
            client.connect(self.address.host, self.address.port, _KEEP_ALIVE)
        except (OSError, ValueError) as error:
            raise DeliveryError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
        client.loop_start()
        self._client = client
        self._answered.wait(_PATIENCE)
        if self._reason:
            self._drop()
            raise DeliveryError(self._reason)
        self._told.clear()
        for topic, content in {**self._fixed, self._status: "online"}.items():
            self._publish(topic, content, retain=True)

    def _publish(self, topic: str, content: str, retain: bool) -> None:
        if self._client is None or not _arrived(self._client.publish(topic, content, 1, retain), _PATIENCE):
            self._drop()
            raise DeliveryError("the connection was lost")

    def _drop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None


def _arrived(info: MQTTMessageInfo, seconds: float) -> bool:
    """Whether the broker acknowledged within so many seconds."""
    try:
        info.wait_for_publish(seconds)
    except (RuntimeError, ValueError):
        return False
    return info.is_published()
