"""JSON that any reader takes: no NaN and no infinity on the way out, none on the way in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from asd.utils import strict_json


def refuse(token: str) -> None:
    pytest.fail(f"{token} is no JSON")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_json_has_no_number_for_is_null(value: float) -> None:
    text = strict_json.dumps({"a": value, "b": [1.5, (value, {"c": value})], "d": "NaN"})
    expected = {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN"}
    assert json.loads(text, parse_constant=refuse) == expected


def test_the_rest_is_as_it_was() -> None:
    value = {"ä": [1, 2.5, None, True, "x"]}
    assert json.loads(strict_json.dumps(value)) == value
    assert strict_json.dumps(value, ensure_ascii=False, indent=2) == json.dumps(value, ensure_ascii=False, indent=2)


@pytest.mark.parametrize("text", ["NaN", "[1, Infinity]", '{"a": -Infinity}', "1e999", "[" * 100_000, "{", ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


def test_json_is_read() -> None:
    assert strict_json.loads('{"a": [1, 2.5, null, -3e-4]}') == {"a": [1, 2.5, None, -3e-4]}


@pytest.mark.parametrize("value", ["nan", "inf", 10**400, math.nan, "text"])
def test_a_finite_number_is_insisted_on(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.finite(value)
    assert strict_json.finite("2.5") == 2.5
