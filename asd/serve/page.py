"""The files of the page, and the headers that keep it to its own service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

_FOLDER = Path(__file__).parent / "page"

FILES = {"/": "index.html"} | {f"/{path.name}": path.name for path in sorted(_FOLDER.iterdir()) if path.is_file()}
"""Routes, and the files they answer with."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""What every answer of the service carries."""


def add_page(app: FastAPI) -> None:
    """Add the routes of the page."""
    for route, name in FILES.items():
        app.get(route, include_in_schema=False)(_answer(_FOLDER / name))


def _answer(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def page() -> FileResponse:
        return FileResponse(path)

    return page
