"""A client of the service, and services to ask."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
import soundfile

from asd.serve.service import Service

RATE = 16000
Answer = tuple[int, dict[str, Any], dict[str, str]]


def _headers(answer: Any) -> dict[str, str]:
    return {name.casefold(): value for name, value in answer.headers.items()}


class Client:
    """Talks to a running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Status, JSON and headers of an answer."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), _headers(answer)
        except HTTPError as error:
            return error.code, json.load(error), _headers(error)

    def text(self, path: str, headers: dict[str, str] | None = None) -> str:
        request = urllib.request.Request(self.url + path, headers=headers or {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode())

    def begin(self, content: bytes, said: int | None = None, more: str = "") -> socket.socket:
        """A connection on which a recording was sent, or a part of it where its length is said to be larger."""
        fields = f"Host: localhost\r\nContent-Length: {said or len(content)}\r\n{more}"
        return self.connected(f"POST /score?machine=fan HTTP/1.1\r\n{fields}\r\n".encode() + content)

    def connected(self, *parts: bytes) -> socket.socket:
        """A connection on which so much was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        for part in parts:
            connection.sendall(part)
        return connection


class Started(Client):
    """A service in a process of its own, as a user starts it."""

    def __init__(self, checkpoint: Path, temporary: Path, *options: object, **env: str) -> None:
        command = [sys.executable, "-m", "asd", "serve", str(checkpoint), "--port", "0", *map(str, options)]
        environment = {**os.environ, "TMPDIR": str(temporary), **env}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.temporary = temporary
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.startswith("http"):
            pytest.fail(self.process.communicate()[1])
        super().__init__(line)

    def left_over(self) -> list[Path]:
        return list(self.temporary.glob("asd-serve-*"))

    def most_memory(self) -> float:
        """Megabytes that the process ever held."""
        return self._memory("VmHWM")

    def memory(self) -> float:
        """Megabytes that the process holds."""
        return self._memory("VmRSS")

    def _memory(self, which: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (line,) = [one for one in lines if one.startswith(which)]
        return int(line.split()[1]) / 1000

    def descriptors(self) -> int:
        """Files and connections that the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextmanager
def running(service: Service) -> Iterator[Client]:
    """A service in a thread, whose inside the test can reach."""
    import uvicorn

    from asd.serve.app import create_app
    from asd.serve.server import configured, listen

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(configured(create_app(service)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


@contextmanager
def held(service: Service) -> Iterator[None]:
    """The model busy, until the end."""
    gate, busy = threading.Event(), threading.Event()
    service.worker.call(lambda: (busy.set(), gate.wait(60)))
    assert busy.wait(30)
    try:
        yield
    finally:
        gate.set()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def machine_of(path: Path) -> str:
    return path.parents[1].name


def form(content: bytes, name: str = "a.wav", field: str = "file") -> tuple[bytes, dict[str, str]]:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


def sound(samples: np.ndarray, subtype: str = "PCM_16", rate: int = RATE, form_of: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form_of, subtype=subtype)
    return buffer.getvalue()
