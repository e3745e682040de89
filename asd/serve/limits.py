"""What the service takes: who may ask, how large and how long a recording may be."""

from __future__ import annotations

import contextlib
import errno
import hmac
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fastapi import HTTPException
from starlette.datastructures import UploadFile
from starlette.requests import Request

from asd.data.audio import read_header
from asd.deploy.windows import Cut

_CHUNK = 1 << 20
_MOST_SAMPLES = 150_000_000
_RATES = (1000, 400_000)


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        megabytes: The largest body of a request.
        seconds: The longest recording.
        waiting: The most recordings that may wait for the model.
        token: What `Authorization: Bearer` must say; ``None``: anyone may ask.
    """

    megabytes: float = 50.0
    seconds: float = 600.0
    waiting: int = 32
    token: str | None = None

    @property
    def size(self) -> int:
        """The largest body in bytes."""
        return int(self.megabytes * 1e6)

    def check_token(self, request: Request) -> None:
        """Refuse a request without the token, with 401."""
        if self.token is None:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.casefold() != "bearer" or not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPException(401, "give the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})

    def check_recording(self, path: Path, cut: Cut) -> float:
        """The seconds of a recording, by its header alone, before anything is decoded.

        Raises:
            AudioError: No recording.
            HTTPException: 413, too long; 422, a rate that no recorder has.
        """
        header = read_header(path, cut.channel)
        seconds = header.frames / header.sample_rate
        if not _RATES[0] <= header.sample_rate <= _RATES[1]:
            raise HTTPException(422, f"the recording has {header.sample_rate} Hz; give one of 1 to 400 kHz")
        if seconds > self.seconds or header.frames * header.channels > _MOST_SAMPLES:
            channels = f" of {header.channels} channels" if header.channels > 1 else ""
            raise HTTPException(
                413, f"the recording lasts {seconds:.0f} s{channels}, and {self.seconds:.0f} s are taken; cut it"
            )
        return seconds


@dataclass(frozen=True)
class Upload:
    """A recording that was sent.

    Attributes:
        path: Where it lies, until the request is answered.
        name: As the client calls it; empty where it does not.
    """

    path: Path
    name: str


@contextlib.asynccontextmanager
async def received(request: Request, limits: Limits, name: str = "") -> AsyncIterator[Upload]:
    """The recording in the body of a request, as it is or as the field ``file`` of a form, which names it, too.

    Raises:
        HTTPException: 413, too large; 422, none there; 507, the disk is full.
    """
    # Without a suffix, so that the content alone tells what it is.
    with tempfile.TemporaryDirectory(prefix="asd-serve-") as folder:
        path = Path(folder) / "recording"
        try:
            name = await _spool(_limited(request, limits), path) or name
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise HTTPException(507, "the service's disk is full; try again later") from error
            raise
        if path.stat().st_size == 0:
            raise HTTPException(422, "no recording was sent; give it as the body, or as the field `file` of a form")
        yield Upload(path, name)


def _limited(request: Request, limits: Limits) -> Request:
    """The request, whose body ends with an error beyond the limit, whatever its header says."""
    refusal = HTTPException(413, f"the body is larger than {limits.megabytes:g} MB", {"Connection": "close"})
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.size:
        raise refusal
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > limits.size:
            raise refusal
        return message

    return Request(request.scope, receive)


async def _spool(request: Request, path: Path) -> str:
    """Write the recording, and return its name where the body tells it."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=8) as form:
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise HTTPException(422, "the form has no field `file` with a recording")
            with path.open("wb") as file:
                while part := await sent.read(_CHUNK):
                    file.write(part)
            return sent.filename or ""
    with path.open("wb") as file:
        await _copy(request, file)
    return ""


async def _copy(request: Request, file: IO[bytes]) -> None:
    async for part in request.stream():
        file.write(part)
