"""Events arrive at a web address, or it is known why not."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from asd.errors import UserError
from asd.events.delivery import DeliveryError
from asd.events.webhook import Webhook


class _Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: _Server = self.server  # type: ignore[assignment]
        server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.status = 200
        self.taken: list[dict] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "refused"),
    [(200, None), (204, None), (500, False), (503, False), (404, False), (401, False), (422, True)],
)
def test_an_answer_tells_whether_to_try_again(server: _Server, status: int, refused: bool | None) -> None:
    server.status = status
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/alarm")
    hook.refresh()
    if refused is None:
        hook.send({"id": "a", "score": float("nan")})
    else:
        with pytest.raises(DeliveryError, match=f"^{status} ") as error:
            hook.send({"id": "a", "score": float("nan")})
        assert error.value.refused is refused
    assert server.taken == [{"id": "a", "score": None}]


def test_nobody_there_is_a_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hook = Webhook(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(DeliveryError, match=r"^Connection refused$") as error:
            hook.send({})
    assert not error.value.refused


def test_a_wrong_address_is_named() -> None:
    with pytest.raises(UserError, match="begins with http"):
        Webhook("ftp://host")
