"""Taking a recording from the body of a request to a file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

_LONGEST_NAME = 200
_MEMORY = "/dev/shm"
_SMALL, _ROOM = 4_000_000, 256_000_000


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
async def received(request: Request, name: str) -> AsyncIterator[Upload]:
    """The recording in the body of a request, as it is or as the field ``file`` of a form.

    Args:
        request: The request.
        name: What the recording is called where the form does not tell.

    Raises:
        HTTPException: 422, none there; 507, the disk is full.
    """
    with contextlib.ExitStack() as stack:
        with telling_full_disk():
            place = in_memory(request.headers.get("content-length", ""))
            made = tempfile.TemporaryDirectory(prefix="asd-serve-", dir=place, ignore_cleanup_errors=True)
            folder = stack.enter_context(made)
            # Without a suffix: the content tells what it is.
            path = Path(folder) / "recording"
            given = await _spool(request, path)
            size = path.stat().st_size
        if size == 0:
            raise HTTPException(422, "no recording was sent; give it as the body, or as the field `file` of a form")
        yield Upload(path, " ".join((given or name).split())[:_LONGEST_NAME])


def in_memory(said: str) -> str | None:
    """A folder in memory for a body of so many bytes; ``None`` for the usual one, which takes longer than decoding.

    Whoever sets ``TMPDIR`` means it.
    """
    if "TMPDIR" in os.environ or not said.isdecimal() or int(said) > _SMALL or not os.access(_MEMORY, os.W_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ROOM else None


@contextlib.contextmanager
def telling_full_disk() -> Iterator[None]:
    """Raise `HTTPException` 507 for a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HTTPException(507, "the service's disk is full; try again later") from error


async def _spool(request: Request, path: Path) -> str:
    """Write the recording, and return its name where the body tells it."""
    if request.headers.get("content-type", "").casefold().startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=8) as form:
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise HTTPException(422, "the form has no field `file` with a recording")
            await run_in_threadpool(_copy, sent.file, path)
            return sent.filename or ""
    with path.open("wb") as file:
        async for part in request.stream():
            file.write(part)
    return ""


def _copy(sent: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(sent, file)
