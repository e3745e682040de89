"""Connections whose clients dawdle, say what is no request, or are too many."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asd.inference import Detector
from asd.serve import connection, server
from asd.serve.hosts import Hosts
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import Client, held, running, until

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST /score?machine=fan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
HANDLED = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture
def client(detector: Detector) -> Iterator[Client]:
    with running(Service(lambda: detector, Limits(hosts=Hosts.of("127.0.0.1", [])))) as client:
        yield client


def rest(one: socket.socket) -> bytes:
    """All that comes until the service hangs up."""
    found = b""
    try:
        while part := one.recv(65536):
            found += part
    except ConnectionResetError:
        found += b"(reset)"
    return found


def refused(client: Client, *parts: bytes) -> tuple[int, str, float]:
    """Status, error and seconds of the only answer, after which the service hangs up."""
    begin = time.monotonic()
    with client.connected(*parts) as one:
        found = rest(one)
    head, _, body = found.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert b"\r\ncontent-type: application/json" in head.lower()
    said = json.loads(body)
    assert set(said) == {"error"} and "\n" not in said["error"]
    return int(head.split()[1]), said["error"], time.monotonic() - begin


def test_a_head_that_drips_or_never_comes_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.5)
    begin = time.monotonic()
    with client.connected() as silent, client.connected() as one:
        with pytest.raises(ConnectionError):  # noqa: PT012 - whichever byte it is
            for letter in HEALTH * 10:
                one.send(bytes([letter]))
                time.sleep(0.02)
        assert time.monotonic() - begin < 5
        assert rest(silent) == b"", "nothing was asked"
    status, error, took = refused(client, b"GET /health HTTP/1.1\r\nHost: loc")
    assert (status, error) == (408, "the head of the request did not arrive within 0 s")
    assert took > 0.4
    with client.connected(HEALTH) as one:
        until(lambda: b"uptime" in one.recv(4096))
        one.sendall(b"GET /hea")
        assert HANDLED.findall(rest(one)) == [b"408"], "the second head on a connection, too"
    assert 'asd_requests_total{route="other",status="408"} 3.0' in client.text("/metrics")


def test_idle_connections_are_closed(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_KEEP_ALIVE_SECONDS", 0.3)
    with running(Service(lambda: detector, Limits())) as client, client.connected(HEALTH, HEALTH) as one:
        assert HANDLED.findall(rest(one)) == [b"200", b"200"]


def test_answers_that_nobody_reads_are_given_up(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, usual = threading.Event(), connection.Connection.connection_lost
    monkeypatch.setattr(connection, "_READ_SECONDS", 0.3)
    monkeypatch.setattr(server, "_KEEP_ALIVE_SECONDS", 0.3)
    monkeypatch.setattr(
        connection.Connection, "connection_lost", lambda self, error: (usual(self, error), lost.set())[0]
    )
    with running(Service(lambda: detector, Limits())) as client, socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", client.port))
        one.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 90)
        assert lost.wait(30)


def test_requests_far_ahead_of_their_answers_are_not_read(client: Client) -> None:
    with client.connected() as one:
        one.settimeout(30)
        sender = threading.Thread(target=flood, args=[one])
        sender.start()
        assert len(HANDLED.findall(rest(one))) in range(100, 150)
        sender.join(30)


def flood(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.sendall(HEALTH * 100_000)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /health HTTP/9.9\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhellox", 400),
        (b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (CHUNKED + b"xyz\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000, 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\na: " + bytes([97]) * 400_000, 431),
        (b"GET /" + bytes([97]) * 400_000, 431),
        (CHUNKED + b"1;a=" + b"b" * 100_000, 431),
        (CHUNKED + b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 200_000, 431),
    ],
)  # fmt: skip
def test_what_is_no_request_is_one_line(client: Client, sent: bytes, status: int) -> None:
    assert refused(client, sent)[0] == status
    assert f'route="other",status="{status}"}} 1.0' in client.text("/metrics")
    assert client.ask("/health")[0] == 200


def test_what_was_asked_before_is_answered_first(detector: Detector, clips: list[Path]) -> None:
    service = Service(lambda: detector, Limits())
    content = clips[0].read_bytes()
    score = (
        b"POST /score?machine=fan HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    )
    broken = CHUNKED + b"xyz\r\n"
    with running(service) as client:
        for more, expected in ((b"\x00\x01", 1), (HEALTH + b"garbage\r\n\r\n", 2), (broken, 1), (HEALTH + broken, 2)):
            with held(service):
                one = client.connected(score, more)
                until(lambda: service.waiting == 1)
                time.sleep(0.05)
            with one:
                assert HANDLED.findall(rest(one)) == [b"200"] * expected


def test_another_protocol_is_not_taken_up(client: Client) -> None:
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
    for protocol in (b"websocket", b"h2c"):
        with client.connected(asked % protocol) as one:
            assert HANDLED.findall(rest(one)) == [b"200"], "and the connection ends"


def test_the_host_is_asked_for(client: Client) -> None:
    for head, status in (
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n", 421),
        (b"GET /health HTTP/1.1\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n", 421),
        (b"GET http://localhost:80/health HTTP/1.1\r\nHost: evil.example\r\n", 200),
        (b"GET http://[::1]/health HTTP/1.1\r\nHost: localhost\r\n", 200),
        (b"POST /score HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n", 403),
    ):
        with client.connected(head + b"Connection: close\r\n\r\n") as one:
            found = rest(one)
        assert HANDLED.findall(found) == [b"%d" % status], head
        assert status == 200 or set(json.loads(found.partition(b"\r\n\r\n")[2])) == {"error"}
    assert "--allowed-hosts evil.example" in client.ask("/", headers={"Host": "evil.example"})[1]["error"]


def test_beyond_so_many_connections_the_longest_idle_gives_way(
    detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 100)
    service = Service(lambda: detector, Limits(connections=4))
    content = clips[0].read_bytes()
    with running(service) as client, ExitStack() as kept:
        many = [kept.enter_context(client.connected(b"GET /he")) for _ in range(20)]
        assert client.ask("/health")[0] == client.ask("/score?machine=fan", content)[0] == 200
        assert [rest(one) for one in many[:16]] == [b""] * 16
        with held(service):
            busy = [kept.enter_context(client.begin(content)) for _ in range(4)]
            until(lambda: service.waiting == 4)
            status, error, _ = refused(client)
            assert (status, error) == (503, "too many connections; try again in a second")
        assert all(one.recv(20).startswith(b"HTTP/1.1 200") for one in busy), "who is answered keeps its place"
        assert client.ask("/health")[0] == 200


def test_what_is_used_of_the_server_is_there() -> None:
    for name in ("connection_made", "connection_lost", "data_received", "on_headers_complete", "on_body",
                 "on_message_complete", "on_response_complete", "timeout_keep_alive_handler", "pause_writing",
                 "resume_writing", "shutdown", "_unset_keepalive_if_required"):  # fmt: skip
        assert callable(getattr(connection.HttpToolsProtocol, name))
