"""Bodies that drip: they end, and keep nobody else out."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from asd.inference import Detector
from asd.serve import limits
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import RATE, running, sound, until

SCORE = "POST /score?machine=fan HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def dripping(connections: list[socket.socket], part: bytes, pause: float = 0.01) -> Iterator[None]:
    """Send a little on each connection, again and again."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(pause):
            for one in list(connections):
                try:
                    one.sendall(part)
                except OSError:
                    connections.remove(one)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


@pytest.mark.parametrize(("limit", "part"), [("_BEGIN_SECONDS", b"x"), ("_BODY_SECONDS", bytes(1000))])
def test_a_body_that_drips_is_given_up(
    limit: str, part: bytes, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, limit, 0.3)
    monkeypatch.setattr(limits, "_LINGER_SECONDS", 0.1)
    service = Service(lambda: detector, Limits())
    with running(service) as client:
        for head in (
            "Content-Length: 40000000",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue\r\nContent-Length: 9",
        ):
            begin = time.monotonic()
            with client.connected(f"{SCORE}{head}\r\n\r\n".encode()) as one:
                chunk = b"%x\r\n%s\r\n" % (len(part), part) if "chunked" in head else part
                with dripping([] if "Expect" in head else [one], chunk):
                    found = b""
                    while b"}" not in found:
                        found += one.recv(1000)
            assert b" 408 " in found and b"arrived too slowly; send it again" in found
            assert 0.2 < time.monotonic() - begin < 5
        until(lambda: service.receiving == 0)


def test_those_who_drip_lock_nobody_out(detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOMENT_SECONDS", 0.2)
    service = Service(lambda: detector, Limits())
    with running(service) as client, ExitStack() as kept:
        every = [kept.enter_context(client.begin(b"RIFF", said=2_000_000)) for _ in range(40)]
        until(lambda: service.receiving == 32)
        with dripping(list(every), b"x"):
            time.sleep(0.3)
            with ThreadPoolExecutor(4) as pool:
                content = clips[0].read_bytes()
                answers = list(pool.map(lambda _: client.ask("/score?machine=fan", content)[0], range(12)))
            assert answers == [200] * 12
            assert service.receiving >= 28, "no more than needed are sent away"


def test_who_sends_fast_keeps_the_place(detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOMENT_SECONDS", 0.1)
    content = sound(0.1 * np.random.default_rng(0).standard_normal(20 * RATE))
    service = Service(lambda: detector, Limits(waiting=1))
    with running(service) as client, client.begin(content[:-100], said=len(content)) as one:
        until(lambda: service.receiving == 1)
        time.sleep(0.3)
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 503
        one.sendall(content[-100:])
        assert one.recv(20).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("3000000000", b"HTTP/1.1 413 "),
        ("4", b"HTTP/1.1 100 Continue\r\n"),
        ("0" * 5000 + "4", b"HTTP/1.1 100 Continue"),
    ],
    ids=["large", "small", "zeros"],
)
def test_a_body_is_asked_for_only_where_it_is_taken(detector: Detector, length: str, expected: bytes) -> None:
    head = f"{SCORE}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    with running(Service(lambda: detector, Limits())) as client, client.connected(head.encode()) as one:
        assert one.recv(len(expected)) == expected
        if b"100" in expected:
            one.sendall(b"RIFF")
            until(lambda: b" 422 " in one.recv(1000))
