"""The OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi")
from fastapi import FastAPI, Query

from asd.serve.answers import Health, Score
from asd.serve.interface import ASKING, OPEN, SENDING, answers, document, recordings, text
from asd.serve.options import Teaching


def described(*machines: str, token: bool = True) -> dict[str, Any]:
    app = FastAPI()

    @app.post("/teach", **answers(Score, *SENDING, 409), **recordings(3))
    async def teach(query: Annotated[Teaching, Query()]) -> None:
        """Teach."""

    @app.get("/figures", **text(*ASKING))
    async def figures() -> None:
        """Figures."""

    @app.get("/alive", **answers(Health, *OPEN))
    async def alive() -> None:
        """Alive."""

    return document(app, machines, token)


def options(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["paths"]["/teach"]["post"]["parameters"]}


def test_what_must_be_said_depends_on_what_is_known() -> None:
    several, one = options(described("fan", "pump")), options(described("fan"))
    assert [name for name, option in several.items() if option["required"]] == ["machine", "kind"]
    assert [name for name, option in one.items() if option["required"]] == ["kind"]
    assert several["machine"]["schema"]["minLength"] == 1
    assert list(several["machine"]["examples"]) == ["fan", "pump"]
    assert "null" not in str(one["kind"]["schema"])


@pytest.mark.parametrize("token", [True, False])
def test_the_token_is_wanted_where_it_is(token: bool) -> None:
    found = described("fan", token=token)
    (name,) = found["components"]["securitySchemes"]
    assert found["components"]["securitySchemes"][name]["scheme"] == "bearer"
    for path in ("/teach", "/figures"):
        (operation,) = found["paths"][path].values()
        assert operation["security"] == ([{name: []}] if token else [{name: []}, {}])
        assert operation["responses"]["401"]["headers"]["WWW-Authenticate"]
    assert "security" not in found["paths"]["/alive"]["get"]
    assert "401" not in found["paths"]["/alive"]["get"]["responses"]


def test_every_refusal_has_one_form() -> None:
    found = described("fan")
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, statuses in {
        "/teach": {400, 401, 403, 404, 408, 409, 413, 421, 422, 431, 500, 503, 507},
        "/figures": {400, 401, 408, 413, 421, 431, 500, 503},
        "/alive": {400, 408, 413, 421, 431, 500, 503},
    }.items():
        (operation,) = found["paths"][path].values()
        answers = operation["responses"]
        assert {int(status) for status in answers} == {200} | statuses
        assert all(answers[str(status)]["content"] == error for status in statuses)
    assert found["components"]["schemas"]["Error"]["required"] == ["error"]
    assert "HTTPValidationError" not in str(found)


def test_bodies_and_answers_have_their_media_types() -> None:
    found = described("fan")["paths"]
    body = found["/teach"]["post"]["requestBody"]
    assert body["required"]
    assert list(body["content"]) == ["audio/*", "application/octet-stream", "multipart/form-data"]
    form = body["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert (form["properties"]["file"]["minItems"], form["properties"]["file"]["maxItems"]) == (1, 3)
    assert found["/figures"]["get"]["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert found["/alive"]["get"]["responses"]["200"]["description"] == Health.__doc__


def test_whatever_is_answered_is_described() -> None:
    schemas = described("fan")["components"]["schemas"]
    assert all(schema["description"] for schema in schemas.values())
    bare = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, one in schema["properties"].items()
        if "description" not in one
    ]
    assert bare == []
    assert "explanation" not in schemas["Score"]["required"]
    assert {"percentile", "p_value", "limits", "windows"} <= set(schemas["Score"]["required"])
