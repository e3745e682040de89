"""Tables of what other programs are told: events, from their schema, and the routes of the service, from its own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from asd.events.event import schema
from asd.serve.app import create_app
from asd.serve.interface import document


def described() -> dict[str, Any]:
    """The OpenAPI document of a service with a token and one machine; no detector is needed for it."""
    detector, limits = SimpleNamespace(titles=["pump"]), SimpleNamespace(token="")
    app = create_app(SimpleNamespace(detector=detector, limits=limits, observed=None))  # type: ignore[arg-type]
    return document(app, detector.titles, token=True)


def routes() -> Iterator[tuple[str, str]]:
    """The routes of `asd serve`, for the page on HTTP."""
    said = described()
    lines = ["| request | takes | |", "|---|---|---|"]
    for path, methods in said["paths"].items():
        for method, one in methods.items():
            taken = ["a recording"] if "requestBody" in one else []
            taken += [_parameter(each) for each in one.get("parameters", ())]
            lines.append(f"| `{method.upper()} {path}` | {', '.join(taken) or '-'} | {one['description']} |")
    yield "included/routes.md", "\n".join(lines) + "\n"


def _parameter(one: dict[str, Any]) -> str:
    kinds = [part.get("enum") or [part["type"]] for part in one["schema"].get("anyOf", [one["schema"]])]
    said = " or ".join(name for kind in kinds for name in kind if name != "null")
    return f"`{one['name']}` ({said}{', must be given' if one['required'] else ''})"


def events() -> Iterator[tuple[str, str]]:
    """The types of events and their keys, for the page on MQTT."""
    said = schema()
    kinds = [(one["if"]["properties"]["type"]["const"], one["then"]) for one in said["allOf"]]
    told: dict[str, str] = {}
    parts = [("", said), *(("", one) for _, one in kinds), *((f"{name}.", one) for name, one in said["$defs"].items())]
    for place, one in parts:
        for key, value in one["properties"].items():
            if "description" in value:
                told.setdefault(f"{place}{key}", value["description"])
    common = ", ".join(f"`{key}`" for key in said["required"])
    types = [f"| `{kind}` | {one['description']} | {_keys(one)} |" for kind, one in kinds]
    keys = [f"| `{key}` | {text} |" for key, text in sorted(told.items())]
    yield (
        "included/events.md",
        "\n".join(
            [f"Every event has {common}, and `at`, when it was, where that is known. Beside these:", "",
             "| type | | keys; those in brackets not always |", "|---|---|---|", *types, "",
             "| key | |", "|---|---|", *keys, ""]
        ),
    )  # fmt: skip


def _keys(one: dict[str, Any]) -> str:
    return ", ".join(f"`{key}`" if key in one["required"] else f"(`{key}`)" for key in one["properties"])
