"""The page of the interface."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("fastapi")
from asd.serve.curl import CURL, curl
from asd.serve.manual import manual_of


@pytest.fixture
def document() -> dict[str, Any]:
    """Of one route, with an option, a body, an answer and a refusal."""
    answer = {
        "type": "object",
        "description": "An answer.",
        "required": ["score"],
        "properties": {
            "score": {"type": "number", "description": "As `limits`."},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "decision": {"enum": ["normal", "anomalous"]},
            "percentile": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "resembles": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    }
    part = {"type": "object", "description": "A part.", "properties": {}, "required": []}
    reference = {"schema": {"$ref": "#/components/schemas/Answer"}}
    operation = {
        "operationId": "score",
        "description": "Score <it>.",
        "parameters": [
            {"name": "machine", "required": True, "schema": {"type": "string"}, "description": "Which."},
            {"name": "name", "required": False, "schema": {"type": "string"}, "description": "Of it."},
        ],
        "requestBody": {"content": {"audio/*": {}, "multipart/form-data": {}}},
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": reference}},
            "404": {"description": "Unknown.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    }
    return {
        "info": {"version": "1.2.3", "description": "About <this>."},
        "paths": {"/v1/score": {"post": operation}},
        "components": {"schemas": {"Answer": answer, "Part": part}},
    }


def rows(page: str) -> list[tuple[str, ...]]:
    found = re.findall(r"<tr role=\"row\">\s*(<td.*?)</tr>", page, re.S)
    return [tuple(re.sub(r"<[^>]*>", "", cell).strip() for cell in row.split("</td>")[:3]) for row in found]


def test_it_tells_options_answers_and_the_command(document: dict[str, Any]) -> None:
    page = manual_of(document, "http://plant:8000/")
    assert rows(page) == [
        ("machine *", "string", "Which."),
        ("name", "string", "Of it."),
        ("score *", "number", "As limits."),
        ("parts", "list of Part", ""),
        ("decision", "normal or anomalous", ""),
        ("percentile", "number or null", ""),
        ("resembles", "number by name", ""),
    ]
    assert "curl -F file=@today.wav -F machine=fan http://plant:8000/v1/score" in page
    assert "<code>audio/*</code>, <code>multipart/form-data</code>" in page
    answers = [" ".join(re.sub(r"<[^>]*>", "", one).split()) for one in re.findall(r"<li>(.*?)</li>", page, re.S)]
    assert answers == ["200 Answer Done.", "404 text/plain Unknown."]
    assert '<a href="#Answer">' in page
    assert 'id="Answer"' in page


def test_whatever_it_is_given_is_text(document: dict[str, Any]) -> None:
    page = manual_of(document, "http://a'<b>")
    assert "Score &lt;it&gt;." in page
    assert "About &lt;this&gt;." in page
    assert "<b>" not in page


def test_it_needs_nothing_from_elsewhere_and_no_script(document: dict[str, Any]) -> None:
    page = manual_of(document, "http://plant:8000")
    assert "<script" not in page
    assert "style=" not in page
    assert [one for one in re.findall(r'(?:href|src)="([^"]*)"', page) if ":" in one or one.startswith("//")] == []


def test_a_command_is_what_curl_is_given_and_the_address() -> None:
    assert curl("/health", "http://h") == "curl http://h/health"
    assert all(curl(route, "http://h").endswith(f" http://h{route}") for route in CURL)
