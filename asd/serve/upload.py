"""Taking a recording from the body of a request: into memory while it is small, else to a file."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException
from starlette.datastructures import UploadFile
from starlette.requests import Request

from asd.data.audio.containers import is_foreign
from asd.data.clip import Sound

_LONGEST_NAME = 200
_NAMELESS = "the recording"
# A file takes longer than decoding what a minute's WAV holds.
_IN_MEMORY = 4_000_000
_PART = 1_000_000


@dataclass(frozen=True)
class Upload:
    """A recording that was sent.

    Attributes:
        sound: Its bytes, or where it lies until the request is answered.
        name: As the client calls it; empty where it does not.
    """

    sound: Sound
    name: str

    def named(self, text: str) -> str:
        """A message that calls the recording as the client does."""
        if self.sound.content is not None:
            return text
        path = str(self.sound.path)
        return text.replace(path, self.name or _NAMELESS)


@contextlib.asynccontextmanager
async def received(request: Request, name: str) -> AsyncIterator[Upload]:
    """The recording in the body of a request, as it is or as the field ``file`` of a form.

    Args:
        request: The request.
        name: What the recording is called where the form does not tell.

    Raises:
        HTTPException: 400, a form that cannot be read; 422, none there; 507, the disk is full.
    """
    async with all_received(request, name, 1) as uploads:
        yield uploads[0]


@contextlib.asynccontextmanager
async def all_received(request: Request, name: str, most: int) -> AsyncIterator[list[Upload]]:
    """The same of a form whose field ``file`` may come `most` times."""
    async with contextlib.AsyncExitStack() as kept:
        with telling_full_disk():
            if not request.headers.get("content-type", "").casefold().startswith("multipart/form-data"):
                uploads = [await _taken(request.stream(), name, kept)]
            else:
                try:
                    form = await kept.enter_async_context(request.form(max_files=most, max_fields=8))
                except UnicodeError as error:
                    raise HTTPException(400, "the form's names are not in the charset that it says") from error
                sent = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
                if not sent:
                    raise HTTPException(422, "the form has no field `file` with a recording")
                uploads = [await _taken(_parts(one), one.filename or name, kept) for one in sent]
        yield uploads


@contextlib.contextmanager
def telling_full_disk() -> Iterator[None]:
    """Raise `HTTPException` 507 for a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HTTPException(507, "the service's disk is full; try again later") from error


async def _parts(sent: UploadFile) -> AsyncIterator[bytes]:
    while part := await sent.read(_PART):
        yield part


async def _taken(parts: AsyncIterator[bytes], name: str, kept: contextlib.AsyncExitStack) -> Upload:
    # Some charsets give halves of characters, which no answer can carry.
    name = " ".join(name.encode(errors="replace").decode().split())[:_LONGEST_NAME]
    held: list[bytes] = []
    size = 0
    async for part in parts:
        held.append(part)
        size += len(part)
        if size > _IN_MEMORY:
            break
    else:
        content = b"".join(held)
        if not content:
            raise HTTPException(422, "no recording was sent; give it as the body, or as the field `file` of a form")
        if not is_foreign(content[:16]):
            return Upload(Sound(Path(name or _NAMELESS), content=content), name)
    made = tempfile.TemporaryDirectory(prefix="asd-serve-", ignore_cleanup_errors=True)
    # Without a suffix: the content tells what it is.
    path = Path(kept.enter_context(made)) / "recording"
    with path.open("wb") as file:
        file.writelines(held)
        async for part in parts:
            file.write(part)
    return Upload(Sound(path), name)
