"""What the service says of itself to programs: the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response

from asd._version import __version__
from asd.serve.answers import Answer, Error

VERSION = "/v1"
"""Begins the paths of the interface; `/health` and `/metrics` are where those that watch services look for them."""

_ABOUT = (
    "Anomalous sound detection. A recording is the body of a request, in any format that the service reads, or the "
    "field `file` of a form. What the query says of it, fields of the form may say instead; where both do, the query "
    "counts."
)
_SOUND = ("audio/*", "application/octet-stream")  # which it is, the content tells
_SCHEME = "token"
_ERRORS = {
    400: "No HTTP request, a host that is not said once, or a form that cannot be read.",
    401: "The token is missing or wrong.",
    403: "The page that asks belongs to another site.",
    404: "The machine is unknown.",
    408: "The request arrives too slowly, or stopped arriving.",
    409: "The service keeps none of it.",
    413: "The body is too large, or the recording too long.",
    421: "The service does not answer to this host.",
    422: "An option says what cannot be, or the recording cannot be used.",
    431: "The head of the request is too long.",
    500: "The service failed; its log says why.",
    503: "Too many recordings wait, or the service ends.",
    507: "The service's disk is full.",
}
_HEADERS: dict[int, tuple[str, dict[str, Any]]] = {
    401: ("WWW-Authenticate", {"schema": {"const": "Bearer"}}),
    503: ("Retry-After", {"description": "Seconds.", "schema": {"type": "integer"}}),
}
_ANY = (400, 408, 413, 421, 431, 500, 503)
ASKING = (401, *_ANY)
"""What any route answers that wants the token."""
SENDING = (*ASKING, 403, 404, 422, 507)
"""What a route answers that takes recordings."""
OPEN = _ANY
"""What any route answers."""


def answers(model: type[Answer], *refusals: int) -> dict[str, Any]:
    """What a route answers, as FastAPI wants it told: what it is asked for, or an error of these statuses."""
    return {"response_model": model, "response_description": model.__doc__, "responses": _errors(refusals)}


def text(*refusals: int) -> dict[str, Any]:
    """The same of a route that answers plain text."""
    said = {"description": "In the text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"response_class": Response, "responses": {200: said, **_errors(refusals)}}


def _errors(statuses: Iterable[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for status in sorted(statuses):
        found[status] = {"model": Error, "description": _ERRORS[status]}
        if status in _HEADERS:
            name, header = _HEADERS[status]
            found[status]["headers"] = {name: header}
    return found


def recordings(most: int = 1) -> dict[str, Any]:
    """The body of a request: a recording, or a form with as many as may be, as FastAPI wants it told.

    What is said of it is described in the query alone: no document can tell that it is needed in one of the two.
    """
    sound = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {kind: {"schema": sound} for kind in _SOUND}
    content["multipart/form-data"] = {
        "schema": {
            "type": "object",
            "description": "What the query may say, fields of the form may say as well.",
            "required": ["file"],
            "properties": {
                "file": sound if most == 1 else {"type": "array", "items": sound, "minItems": 1, "maxItems": most}
            },
        },
        "encoding": {"file": {"contentType": ", ".join(_SOUND)}},
    }
    return {"openapi_extra": {"requestBody": {"required": True, "content": content}}}


def document(app: FastAPI, machines: Sequence[str], token: bool) -> dict[str, Any]:
    """The OpenAPI document of a service.

    Args:
        app: Its routes.
        machines: What people call the machines that it knows.
        token: Whether it wants one.
    """
    found = get_openapi(title="asd serve", version=__version__, description=_ABOUT, routes=app.routes)
    found["components"]["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "description": "Of a service that was started with one."}
    }
    for operation in (one for path in found["paths"].values() for one in path.values()):
        if "401" in operation["responses"]:
            operation["security"] = [{_SCHEME: []}] if token else [{_SCHEME: []}, {}]
        for option in operation.get("parameters", ()):
            if option["name"] == "machine":
                option["examples"] = {name: {"value": name} for name in machines}
                if len(machines) > 1:
                    option |= {"required": True, "schema": {"type": "string", "minLength": 1}}
            option["required"] |= option["name"] == "kind"
    return found
