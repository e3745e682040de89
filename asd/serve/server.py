"""The server around the routes."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

_PATIENCE_SECONDS = 30


class _Server(uvicorn.Server):
    """Ends at a signal after what waits is answered, and lets the program go on."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals here; uvicorn's own would end the program by the same signal once more."""
        usual = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in usual.items():
                signal.signal(one, handler)


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer at a socket until SIGINT or SIGTERM."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=_PATIENCE_SECONDS)
    _Server(config).run(sockets=[listening])
