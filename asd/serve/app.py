"""The routes of the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from asd._version import __version__
from asd.serve import teaching
from asd.serve.answers import Calibration, Feedback, Health, Machines, Score
from asd.serve.asking import asked
from asd.serve.interface import ASKING, OPEN, SENDING, VERSION, answers, document, recordings, text
from asd.serve.limits import Limiting
from asd.serve.manual import MANUAL, manual_of
from asd.serve.observed import Observing
from asd.serve.options import Calibrating, Scoring, Teaching
from asd.serve.page import FILES, HEADERS, add_page
from asd.serve.service import Service, unless_gone

_Route = TypeVar("_Route", bound=Callable[..., Any])
_GONE = 499
_CLOSE_SECONDS = 0.5
_MOST_RECORDINGS = 256


def create_app(service: Service) -> FastAPI:
    """The routes over a service, which ends with them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Service]]:
        yield {"service": service}
        service.close(_CLOSE_SECONDS)

    # FastAPI's own pages of the interface load their scripts from elsewhere.
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, generate_unique_id_function=_name_of
    )
    app.state.service = service
    _add_scoring(app, service)
    _add_teaching(app, service)
    _add_state(app, service)
    _add_interface(app, service)
    add_page(app)
    _answer_errors(app)
    routes = [str(getattr(route, "path", "")) for route in app.routes]
    app.add_middleware(Limiting, limits=service.limits, open_paths=["/health", MANUAL, *FILES])
    app.add_middleware(Observing, observed=service.observed, routes=routes, headers=HEADERS)
    return app


def _name_of(route: APIRoute) -> str:
    """What a client that is generated calls a route."""
    return route.name


def _versioned(app: FastAPI, method: str, path: str, **described: Any) -> Callable[[_Route], _Route]:
    """A route of the interface; whoever asks at the path without a version, as before there was one, is answered."""

    def add(route: _Route) -> _Route:
        app.add_api_route(VERSION + path, route, methods=[method], **described)
        app.add_api_route(path, route, methods=[method], include_in_schema=False)
        return route

    return add


def _add_scoring(app: FastAPI, service: Service) -> None:
    @_versioned(app, "POST", "/score", **answers(Score, *SENDING), **recordings())
    async def score(request: Request, query: Annotated[Scoring, Query()]) -> JSONResponse:
        """Score a recording."""
        begin = time.perf_counter()
        async with asked(service, request, query) as (uploads, number, options):
            with service.admitted():
                answer = await unless_gone(request, service.score(uploads[0], number, options.explain))
        service.observed.latency.observe(time.perf_counter() - begin)
        return JSONResponse(answer)


def _add_teaching(app: FastAPI, service: Service) -> None:
    @_versioned(app, "POST", "/feedback", **answers(Feedback, *SENDING, 409), **recordings())
    async def feedback(request: Request, query: Annotated[Teaching, Query()]) -> JSONResponse:
        """Say that the verdict on a recording was a false alarm, or missed a fault."""
        async with asked(service, request, query) as (uploads, number, options):
            if options.kind is None:
                raise HTTPException(422, "say what was wrong with the verdict: kind=false_alarm or kind=missed")
            with service.admitted():
                work = teaching.feedback(service, uploads[0], number, options.kind)
                return JSONResponse(await unless_gone(request, work))

    @_versioned(app, "POST", "/calibrate", **answers(Calibration, *SENDING, 409), **recordings(_MOST_RECORDINGS))
    async def calibrate(request: Request, query: Annotated[Calibrating, Query()]) -> JSONResponse:
        """Set the limits of a machine by its normal recordings here."""
        async with asked(service, request, query, _MOST_RECORDINGS) as (uploads, number, options):
            with service.admitted():
                # Once limits are set they are also written, whether the client waits for it or not.
                found = await teaching.calibrate(service, uploads, number, options.false_alarms, options.add)
                return JSONResponse(found)


def _add_state(app: FastAPI, service: Service) -> None:
    @_versioned(app, "GET", "/machines", **answers(Machines, *ASKING))
    async def machines() -> JSONResponse:
        """The machines that are known, with thresholds and the distributions of normal scores."""
        cut, limits = service.detector.cut, service.limits
        # In a turn of the model's: what a calibration sets before that is written, it may have to take back.
        found = await asyncio.wrap_future(service.worker.call(service.machines))
        facts = {"sample_rate": cut.sample_rate, "seconds": cut.seconds, "max_megabytes": limits.megabytes}
        return JSONResponse({**facts, "max_seconds": limits.seconds, "machines": found})

    @app.get("/health", **answers(Health, *OPEN))
    async def health() -> JSONResponse:
        """Whether the service lives, and how much waits."""
        up = time.time() - service.started
        return JSONResponse({"status": "ok", "version": __version__, "uptime_seconds": up, "waiting": service.waiting})

    @app.get("/metrics", **text(*ASKING))
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.observed.text(), media_type="text/plain; version=0.0.4")


def _add_interface(app: FastAPI, service: Service) -> None:
    detector, token = service.detector, service.limits.token

    @cache
    def described() -> dict[str, Any]:
        return document(app, detector.titles, token is not None)

    @_versioned(app, "GET", "/openapi.json", include_in_schema=False)
    async def interface() -> JSONResponse:
        return JSONResponse(described())

    @app.get(MANUAL, include_in_schema=False)
    async def manual(request: Request) -> Response:
        return Response(manual_of(described(), str(request.base_url)), media_type="text/html; charset=utf-8")


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
