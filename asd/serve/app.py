"""The routes of the service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from asd._version import __version__
from asd.serve import teaching
from asd.serve.limits import Limiting
from asd.serve.observed import Observing
from asd.serve.page import FILES, HEADERS, add_page
from asd.serve.service import Service, unless_gone
from asd.serve.upload import all_received, received

_GONE = 499
_CLOSE_SECONDS = 0.5
_MOST_RECORDINGS = 256
_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        },
    },
}


def create_app(service: Service) -> FastAPI:
    """The routes over a service, which ends with them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Service]]:
        yield {"service": service}
        service.close(_CLOSE_SECONDS)

    # FastAPI's own pages of the interface load their scripts from elsewhere.
    app = FastAPI(title="asd", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = service
    _add_scoring(app, service)
    _add_teaching(app, service)
    _add_state(app, service)
    add_page(app)
    _answer_errors(app)
    routes = [str(getattr(route, "path", "")) for route in app.routes]
    app.add_middleware(Limiting, limits=service.limits, open_paths=["/health", *FILES])
    app.add_middleware(Observing, observed=service.observed, routes=routes, headers=HEADERS)
    return app


def _add_scoring(app: FastAPI, service: Service) -> None:
    @app.post("/score", openapi_extra={"requestBody": _BODY})
    async def score(
        request: Request, machine: str | None = None, explain: bool = False, name: str = ""
    ) -> JSONResponse:
        """Score a recording: the body, or the field `file` of a form; `name` is what the answer calls it."""
        begin = time.perf_counter()
        number = service.section_index(machine)
        async with AsyncExitStack() as kept:
            with service.arriving(request.scope["asd.body"]):
                upload = await kept.enter_async_context(received(request, name))
            with service.admitted():
                answer = await unless_gone(request, service.score(upload, number, explain))
        service.observed.latency.observe(time.perf_counter() - begin)
        return JSONResponse(answer)


def _add_teaching(app: FastAPI, service: Service) -> None:
    @app.post("/feedback", openapi_extra={"requestBody": _BODY})
    async def feedback(
        request: Request, kind: Literal["false_alarm", "missed"], machine: str | None = None, name: str = ""
    ) -> JSONResponse:
        """Say that the verdict on a recording, sent as for `/score`, was a false alarm, or missed a fault."""
        number = service.section_index(machine)
        async with AsyncExitStack() as kept:
            with service.arriving(request.scope["asd.body"]):
                upload = await kept.enter_async_context(received(request, name))
            with service.admitted():
                return JSONResponse(await unless_gone(request, teaching.feedback(service, upload, number, kind)))

    @app.post("/calibrate", openapi_extra={"requestBody": _BODY})
    async def calibrate(
        request: Request, machine: str | None = None, false_alarms: str | None = None, add: bool = True, name: str = ""
    ) -> JSONResponse:
        """Set the limits of a machine by its normal recordings here: the body, or all fields `file` of a form."""
        number = service.section_index(machine)
        async with AsyncExitStack() as kept:
            with service.arriving(request.scope["asd.body"]):
                uploads = await kept.enter_async_context(all_received(request, name, _MOST_RECORDINGS))
            with service.admitted():
                # Once limits are set they are also written, whether the client waits for it or not.
                return JSONResponse(await teaching.calibrate(service, uploads, number, false_alarms, add))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/machines")
    async def machines() -> JSONResponse:
        """The machines that are known, with thresholds and the distributions of normal scores."""
        cut, limits = service.detector.cut, service.limits
        facts = {"sample_rate": cut.sample_rate, "seconds": cut.seconds, "max_megabytes": limits.megabytes}
        return JSONResponse({**facts, "max_seconds": limits.seconds, "machines": service.machines()})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the service lives, and how much waits."""
        up = time.time() - service.started
        return {"status": "ok", "version": __version__, "uptime_seconds": up, "waiting": service.waiting}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.observed.text(), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False)
    async def interface() -> JSONResponse:
        return JSONResponse(app.openapi())


def _answer_errors(app: FastAPI) -> None:
    """Every error as ``{"error": "one line"}``."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error.detail).split())}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": said}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_GONE)
