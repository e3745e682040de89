"""An MQTT broker, mosquitto, for tests: it is started where it is installed, and listened to."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_broker = pytest.mark.skipif(PROGRAM is None, reason="needs mosquitto (on Debian: apt-get install mosquitto)")


class Broker:
    """Mosquitto at a port of this machine; what it keeps outlives a restart.

    Args:
        folder: For its files.
        more: Further lines of its configuration.
    """

    def __init__(self, folder: Path, more: str = "allow_anonymous true") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.folder, self._process = folder, None
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/", "user root"]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, more, ""]))

    def start(self) -> None:
        command = [str(PROGRAM), "-c", str(self.folder / "mosquitto.conf")]
        with (self.folder / "mosquitto.log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "the broker does not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


class Subscriber:
    """Remembers all that is published, also while it was away."""

    def __init__(self, port: int, name: str = "subscriber") -> None:
        self.messages: list[MQTTMessage] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = lambda *given: self.messages.append(given[2])
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def under(self, ending: str) -> list[Any]:
        """Contents of what was published to topics that end so; text where it is no JSON."""
        found = [one.payload.decode() for one in list(self.messages) if one.topic.endswith(ending)]
        return [json.loads(one) if one.startswith("{") else one for one in found]


def until(true: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait for something that other processes bring about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)
