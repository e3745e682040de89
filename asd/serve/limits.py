"""Who may ask, how large and how slow a body may be: enforced before a route sees the request, and as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
from collections.abc import Collection
from dataclasses import dataclass

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asd.serve.hosts import Hosts

# A body may pause for so long, must come at this rate on average once it has begun, and be there in the end.
_IDLE_SECONDS = 30.0
_BEGIN_SECONDS = 10.0
_LEAST_RATE = 1000.0  # bytes/s
_BODY_SECONDS = 300.0
# Where every place is taken, one that is slower than this after a moment gives its place up.
_MOMENT_SECONDS = 2.0
_SLOW_RATE = 20_000.0
# After an early answer the rest of the body is taken and dropped for a while: a client that is still sending would
# otherwise lose the answer with the connection.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 16_000_000


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        megabytes: The largest body of a request.
        seconds: The longest recording.
        waiting: The most recordings that may wait for the model, and that may arrive at a time.
        token: What `Authorization: Bearer` must say; ``None``: anyone may ask.
        hosts: Whom a request must mean; ``None``: not asked.
        connections: The most that are open; beyond, the one that has waited longest for a request is closed.
    """

    megabytes: float = 50.0
    seconds: float = 600.0
    waiting: int = 32
    token: str | None = None
    hosts: Hosts | None = None
    connections: int = 256

    @property
    def size(self) -> int:
        """The largest body in bytes."""
        return int(self.megabytes * 1e6)

    def knows(self, authorization: str) -> bool:
        """Whether a header says the token."""
        if self.token is None:
            return True
        kind, _, given = authorization.partition(" ")
        return kind.casefold() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())


class Limiting:
    """Answers 401 without the token, 413 to a body that is too large, 421 to what is meant for another host.

    A body that stops arriving, or arrives too slowly, is answered with 408 where it is read: ``scope["asd.body"]``.

    Args:
        app: What answers the rest.
        limits: The limits.
        open_paths: What needs no token.
    """

    def __init__(self, app: ASGIApp, limits: Limits, open_paths: Collection[str]) -> None:
        self.app = app
        self.limits = limits
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope["asd.body"] = body = Body(receive, send, headers, self.limits)
        answer = self._refusal(scope["method"], scope["path"], headers) or self.app
        await answer(scope, body.receive, body.send)

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        if path not in self.open_paths and not self.limits.knows(headers.get("authorization", "")):
            text = "give the token: Authorization: Bearer ..."
            return JSONResponse({"error": text}, 401, {"WWW-Authenticate": "Bearer"})
        # Not all of it: Python refuses to read thousands of digits, and they may be zeros.
        said = headers.get("content-length", "").lstrip("0")
        if said.isdecimal() and int(said[:20]) > self.limits.size:
            return JSONResponse({"error": _too_large(self.limits)}, 413)
        if self.limits.hosts and (foreign := self.limits.hosts.refusal(method, headers)):
            return JSONResponse({"error": foreign[1]}, foreign[0])
        return None


class Body:
    """Counts a body as it arrives, and answers so that the answer arrives, too."""

    def __init__(self, receive: Receive, send: Send, headers: Headers, limits: Limits) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._complete = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        self._taken = 0
        self._begin = asyncio.get_running_loop().time()
        self._end = self._begin + _BODY_SECONDS
        self._arriving: asyncio.Timeout | None = None

    @property
    def rate(self) -> float:
        """Bytes/s so far; infinite in the first moment."""
        since = asyncio.get_running_loop().time() - self._begin
        return self._taken / since if since > _MOMENT_SECONDS else math.inf

    @property
    def slow(self) -> bool:
        """Whether it may be given up for another."""
        return self.rate < _SLOW_RATE

    def give_up(self) -> None:
        """Wait for no more of it."""
        self._end = -math.inf
        if self._arriving is not None:
            self._arriving.reschedule(self._end)

    async def receive(self) -> Message:
        """The next part; raises `HTTPException` beyond a limit."""
        if self._complete:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        slowest = self._begin + _BEGIN_SECONDS + self._taken / _LEAST_RATE
        try:
            async with asyncio.timeout_at(min(now + _IDLE_SECONDS, slowest, self._end)) as self._arriving:
                message = await self._next()
        except TimeoutError as error:
            stopped = f"stopped arriving for {_IDLE_SECONDS:.0f} s"
            what = stopped if now + _IDLE_SECONDS < min(slowest, self._end) else "arrived too slowly"
            raise HTTPException(408, f"the body {what}; send it again") from error
        finally:
            self._arriving = None
        if self._taken > self._limits.size:
            raise HTTPException(413, _too_large(self._limits))
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on."""
        if message["type"] == "http.response.start" and not self._complete:
            MutableHeaders(scope=message)["Connection"] = "close"
        elif message["type"] == "http.response.body" and not message.get("more_body") and not self._complete:
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _next(self) -> Message:
        message = await self._receive()
        self._complete = not message.get("more_body", False)
        self._taken += len(message.get("body", b""))
        return message

    async def _drop_rest(self) -> None:
        most = self._taken + _LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._complete and self._taken < most:
                    await self._next()


def _too_large(limits: Limits) -> str:
    return f"the body is larger than {limits.megabytes:g} MB; cut the recording, or send it as FLAC"
