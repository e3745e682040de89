"""What is asked with recordings: they, what is said of them, and the machine that is meant."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Generic, NamedTuple

from starlette.requests import Request

from asd.serve.options import Chosen, is_form
from asd.serve.service import Service
from asd.serve.upload import Upload, received


class Asked(NamedTuple, Generic[Chosen]):
    """A request with recordings.

    Attributes:
        uploads: The recordings.
        number: Of the machine and section.
        options: What is said beside.
    """

    uploads: list[Upload]
    number: int
    options: Chosen


@contextlib.asynccontextmanager
async def asked(service: Service, request: Request, query: Chosen, most: int = 1) -> AsyncIterator[Asked[Chosen]]:
    """Take what is asked; the recordings are kept until the request is answered.

    Args:
        service: The service.
        request: The request.
        query: What its query says.
        most: How many recordings it may have.

    Raises:
        HTTPException: As `received`; 404, an unknown machine; 422, none of several is said; 503, too many wait.
    """
    if query.machine or not is_form(request):
        service.section_index(query.machine)  # told before the body comes
    async with contextlib.AsyncExitStack() as kept:
        with service.arriving(request.scope["asd.body"]):
            uploads, options = await kept.enter_async_context(received(request, query, most))
        yield Asked(uploads, service.section_index(options.machine), options)
