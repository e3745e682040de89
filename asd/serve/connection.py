"""A connection: how long its client may take, and what it hears where it sends no request.

The service is uvicorn's but for this: it waits for a head, and for an answer to be read, as long as a client likes. All
that is private of uvicorn is used here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from asd.serve.page import HEADERS
from asd.serve.service import Service

# For a request's head, and for the client to read an answer.
_HEAD_SECONDS = 10.0
_READ_SECONDS = 30.0
# Of a head, or of anything else that is not the body.
_HEAD_BYTES = 65_536
# Requests that are sent before the answers to others: each costs memory.
_AHEAD = 100
# What is still being sent is dropped for so long: it would otherwise take the answer with it.
_LINGER_SECONDS = 2.0
# At the end, for what is asked already; those that run services kill them after 20 s or more.
_PATIENCE_SECONDS = 16.0
_LAST_LINGER_SECONDS = 0.5


class Connection(HttpToolsProtocol):
    """Gives up clients that take too long, and answers what is no request as the routes do.

    Every connection either has a request that is answered, or a timer. Beyond as many as may be open, the one that has
    kept the service waiting for longest gives way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._service: Service = self.app_state["service"]
        self._answered: Any = None  # the request that is; uvicorn's `cycle` is the newest, which may wait for it
        self._no_body = 0  # bytes since the last of a body
        self._refused = False
        self._head: asyncio.TimerHandle | None = None
        self._read: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, in another's place where all are taken."""
        super().connection_made(transport)
        self._since = time.monotonic()  # not the clock of the loop, which stands still within a turn
        self._head = self.loop.call_later(_HEAD_SECONDS, self._late)
        if len(self.connections) > self._service.limits.connections:
            others = [one for one in self.connections if isinstance(one, Connection) and one is not self and one.waits]
            if others:
                min(others, key=lambda one: one._since).transport.abort()
            else:
                self._refuse(503, "too many connections; try again in a second")

    @property
    def waits(self) -> bool:
        """Whether nothing is done for the client: a request may come, or the rest of one that is answered."""
        ended = self._idle or (self.cycle.response_started and not self.cycle.expected_content_length)
        return ended and not self.transport.is_closing()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who answers, and stop the timers."""
        super().connection_lost(exc)
        self._tell_gone(self._answered)
        for timer in (self._head, self._read):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on; what is no request ends the connection."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._no_body += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as if it had not asked for another protocol; what follows may be in that one.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(400, "this is no HTTP request")
            return
        if self._no_body > _HEAD_BYTES:
            self._refuse(431, f"the head of the request is longer than {_HEAD_BYTES // 1024} KiB")
        elif self._head is None and self._idle:
            self._head = self.loop.call_later(_HEAD_SECONDS, self._late)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if len(self.pipeline) >= _AHEAD:
            raise ValueError("too many requests ahead of their answers")
        if self._head is not None:
            self._head.cancel()
            self._head = None
        if not self.url.startswith(b"/"):
            # A whole address as the target says which host is meant, whatever the header says.
            host = httptools.parse_url(self.url).host
            self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers.append((b"host", b"[%s]" % host if b":" in host else host))
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._no_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Pass on that the request is complete."""
        self._no_body = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to answer what follows, or to wait for it."""
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self._since = time.monotonic()
        if self.transport.is_closing():
            self._expect_reading()
        elif following is not None:
            self._answered = following

    def timeout_keep_alive_handler(self) -> None:
        """Close where no other request came."""
        super().timeout_keep_alive_handler()
        self._expect_reading()

    def pause_writing(self) -> None:
        """Wait until the client has read."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._read is not None and not self.transport.is_closing():
            self._read.cancel()
            self._read = None

    def shutdown(self) -> None:
        """End: at once where nothing is asked, after a while whatever is."""
        super().shutdown()
        self.loop.call_later(_PATIENCE_SECONDS, self._give_up)

    def _expect_reading(self) -> None:
        if self._read is None:
            self._read = self.loop.call_later(_READ_SECONDS, self.transport.abort)

    def _late(self) -> None:
        self._head = None
        if self._no_body:
            self._refuse(408, f"the head of the request did not arrive within {_HEAD_SECONDS:.0f} s")
        else:
            self.transport.abort()

    def _give_up(self) -> None:
        if self._answered is None or self._answered.response_started:
            self.transport.abort()
        else:
            self._hang_up(503, "the service ends", _LAST_LINGER_SECONDS)

    def _refuse(self, status: int, text: str) -> None:
        """End the connection with an answer, after those to what was asked before."""
        self._refused = True
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answered
        if not self._idle and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif not self._idle and self.cycle.response_started:
            self.transport.abort()
        else:
            self._hang_up(status, text)

    def _hang_up(self, status: int, text: str, linger: float = _LINGER_SECONDS) -> None:
        """Answer in the place of the routes."""
        self._refused = True
        self._tell_gone(self._answered)
        self._service.observed.requests.labels("other", str(status)).inc()
        response = JSONResponse({"error": text}, status, {**HEADERS, "Connection": "close"})
        fields = [b"%s: %s\r\n" % pair for pair in response.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[status], *fields, b"\r\n", response.body]))
        self.transport.write_eof()
        self.loop.call_later(linger, self.transport.abort)

    @staticmethod
    def _tell_gone(cycle: Any) -> None:
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
