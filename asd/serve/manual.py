"""What the service says of itself to people: the OpenAPI document as a page, which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asd.serve.curl import curl

MANUAL = "/docs"
"""Where the page is."""

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def manual_of(document: dict[str, Any], address: str) -> str:
    """The page: each route with its options, its answers and its command line, and what the answers hold.

    Args:
        document: The OpenAPI document.
        address: Of the service, as whoever reads the page asks it.
    """
    routes = [
        {
            **operation,
            "method": method.upper(),
            "path": path,
            "curl": curl(path, address.rstrip("/")),
            "bodies": list(operation.get("requestBody", {}).get("content", {})),
            "options": {one["name"]: {**one["schema"], **one} for one in operation.get("parameters", ())},
            "needed": [one["name"] for one in operation.get("parameters", ()) if one["required"]],
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return _ENVIRONMENT.get_template("manual.html").render(
        document=document, routes=routes, schemas=document["components"]["schemas"], named=_named
    )


def _named(schema: dict[str, Any]) -> str:
    """What a value is, in a few words."""
    return " or ".join(dict.fromkeys(_names(schema)))


def _names(schema: dict[str, Any]) -> Iterator[str]:
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _names(one)
    elif "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    elif "enum" in schema or "const" in schema:
        yield from map(str, schema.get("enum", [schema.get("const")]))
    elif schema["type"] == "array":
        yield f"list of {_named(schema['items'])}"
    elif schema["type"] == "object" and "additionalProperties" in schema:
        yield f"{_named(schema['additionalProperties'])} by name"
    else:
        yield "recording" if schema.get("format") == "binary" else schema["type"]
