"""Taking recordings from the body of a request: into memory while they are small, else to a file."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from asd.data.audio.containers import is_foreign
from asd.data.clip import Sound
from asd.serve.options import Chosen, is_form, joined

_LONGEST_NAME = 200
_NAMELESS = "the recording"
# A file takes longer than decoding what a minute's WAV holds.
_IN_MEMORY = 4_000_000
_PART = 1_000_000
_MOST_FIELDS = 100


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
async def received(request: Request, options: Chosen, most: int = 1) -> AsyncIterator[tuple[list[Upload], Chosen]]:
    """The recordings in the body of a request, as it is or as the fields ``file`` of a form, and what is said of them.

    Args:
        request: The request.
        options: What its query says.
        most: How many recordings a form may have.

    Raises:
        HTTPException: 400, a form that cannot be read; 422, none there; 507, the disk is full.
        RequestValidationError: The form says what cannot be.
    """
    async with contextlib.AsyncExitStack() as kept:
        with telling_full_disk():
            if not is_form(request):
                uploads = [await _taken(request.stream(), options.name, kept)]
            else:
                form = await kept.enter_async_context(_read(request, most))
                texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
                options = joined(request, options, texts)
                sent = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
                if not sent:
                    raise HTTPException(422, "the form has no field `file` with a recording")
                uploads = [await _taken(_parts(one), one.filename or options.name, kept) for one in sent]
        yield uploads, options


@contextlib.contextmanager
def telling_full_disk() -> Iterator[None]:
    """Raise `HTTPException` 507 for a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HTTPException(507, "the service's disk is full; try again later") from error


class _Form(MultiPartParser):
    """Takes what the field ``file`` holds for a recording, also where it comes without the name of a file."""

    def on_headers_finished(self) -> None:
        said, part = parse_options_header(self._current_part.content_disposition)[1], self._current_part
        if said.get(b"name") == b"file" and b"filename" not in said:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()


@contextlib.asynccontextmanager
async def _read(request: Request, most: int) -> AsyncIterator[FormData]:
    """A form, whose files are closed in the end."""
    try:
        form = await _Form(request.headers, request.stream(), max_files=most, max_fields=_MOST_FIELDS).parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error
    except UnicodeError as error:
        raise HTTPException(400, "the form's names are not in the charset that it says") from error
    try:
        yield form
    finally:
        await form.close()


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
