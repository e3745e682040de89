"""Answers held to the OpenAPI document: all that is answered is described, and no more is promised than is answered."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema


class Described:
    """The document of a service.

    Attributes:
        seen: The fields that answers had, by what they are part of.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: dict[str, set[str]] = {}
        self._components = copy.deepcopy(document["components"])
        for schema in self._components["schemas"].values():
            schema["additionalProperties"] = False

    def check(self, method: str, path: str, status: int, kind: str, answer: Any) -> None:
        """Insist that a route answers this where it answers with that status."""
        told = self.document["paths"][path][method.lower()]["responses"][str(status)]["content"]
        assert kind.partition(";")[0] in told
        schema = told[kind.partition(";")[0]]["schema"]
        validator = jsonschema.Draft202012Validator({**schema, "components": self._components})
        assert [error.message for error in validator.iter_errors(answer)] == []
        for name, fields in self._parts(schema, answer):
            self.seen.setdefault(name, set()).update(fields)

    def never_seen(self) -> set[str]:
        """Fields that no answer had."""
        return {
            f"{name}.{field}"
            for name, schema in self._components["schemas"].items()
            for field in schema["properties"]
            if field not in self.seen.get(name, ())
        }

    def _parts(self, schema: dict[str, Any], value: Any) -> Iterator[tuple[str, set[str]]]:
        """What a value consists of that has a name in the document, and the fields of each."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield name, set(value)
            for field, one in self._components["schemas"][name]["properties"].items():
                if field in value:
                    yield from self._parts(one, value[field])
        elif schema.get("type") == "array":
            for one in value:
                yield from self._parts(schema["items"], one)
