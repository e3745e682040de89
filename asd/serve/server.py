"""The server around the routes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from asd.errors import UserError
from asd.serve.connection import Connection

_KEEP_ALIVE_SECONDS = 15
# Connections give up before.
_LAST_SECONDS = 18


class _Server(uvicorn.Server):
    """Ends at a signal after what waits is answered, and lets the program go on."""

    interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals here; uvicorn's own would end the program by the same signal once more."""

        def end(number: int, frame: FrameType | None) -> None:
            self.interrupted = number == signal.SIGINT
            self.handle_exit(number, frame)

        usual = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in usual.items():
                signal.signal(one, handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to.

    Raises:
        UserError: The address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot listen at {host}:{port} ({reason}); choose another --host or --port") from error
    return listening


def configured(app: FastAPI) -> uvicorn.Config:
    """How the routes are served."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer at a socket until SIGTERM, or SIGINT, which is raised again once all is answered.

    The program ends here where a thread still computes for nobody.
    """
    server = _Server(configured(app))
    server.run(sockets=[listening])
    if not app.state.service.ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if server.interrupted else 0)
    if server.interrupted:
        raise KeyboardInterrupt
