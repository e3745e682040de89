"""What is said beside a recording, by the query and by a form."""

from __future__ import annotations

import random
import re

import pytest

pytest.importorskip("fastapi")
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from asd.errors import UserError
from asd.scoring.budget import Budget
from asd.serve.options import Calibrating, Options, Scoring, is_form, joined

LONGEST_HOP = 36.0
PATTERN = Calibrating.model_json_schema()["properties"]["false_alarms"]["pattern"]


def request(query: str = "", kind: str = "") -> Request:
    headers = [(b"content-type", kind.encode())] if kind else []
    return Request({"type": "http", "query_string": query.encode(), "headers": headers})


@pytest.mark.parametrize(
    ("query", "form", "expected"),
    [
        (Scoring(), {"machine": "fan", "explain": "true"}, Scoring(machine="fan", explain=True)),
        (Scoring(machine="pump"), {"machine": "fan", "name": "a"}, Scoring(machine="pump", name="a")),
        (Scoring(machine="pump"), {"other": "1"}, Scoring(machine="pump")),
    ],
)
def test_the_query_counts_where_both_say_it(query: Scoring, form: dict[str, str], expected: Scoring) -> None:
    assert joined(request("&".join(f"{name}=x" for name in query.model_fields_set)), query, form) == expected


def test_what_the_query_says_counts_also_where_it_is_what_goes_without_saying() -> None:
    assert not joined(request("explain=false"), Scoring(), {"explain": "true"}).explain


@pytest.mark.parametrize(("options", "form"), [(Scoring(), {"explain": "eh"}), (Calibrating(add=True), {"add": ""})])
def test_a_form_that_says_what_cannot_be_is_refused_whatever_the_query_says(
    options: Options, form: dict[str, str]
) -> None:
    with pytest.raises(RequestValidationError) as error:
        joined(request("explain=true&add=true"), options, form)
    assert [one["loc"] for one in error.value.errors()] == [("form", *form)]


@pytest.mark.parametrize(
    ("kind", "form"),
    [("multipart/form-data; boundary=x", True), ("Multipart/Form-Data", True), ("audio/wav", False), ("", False)],
)
def test_what_is_a_form(kind: str, form: bool) -> None:
    assert is_form(request(kind=kind)) is form


def test_whatever_fits_the_pattern_is_a_number_of_false_alarms() -> None:
    draw = random.Random(0)
    fitting = [one for one in ("".join(draw.choices("0123456789.%", k=draw.randint(1, 6))) for _ in range(20_000))
               if re.search(PATTERN, one)]  # fmt: skip
    numbers = [one.rstrip("%") for one in fitting if one.endswith("%")]
    timed = [f"{one}/{time}" for one in numbers for time in ("hour", "day", "week", "month", "year")]
    assert len(fitting) > 100
    for said in (*fitting, *(one for one in timed if re.search(PATTERN, one)), "99.999/hour", "999.999/day"):
        assert 0 < Budget.parse(said).rate(LONGEST_HOP) < 1, said


@pytest.mark.parametrize("said", ["1/day", "0.5/week", "2/month", "5%", "0.05", ".05", "0.50/day", "100/day", ""])
def test_what_people_say_fits_the_pattern(said: str) -> None:
    assert re.search(PATTERN, said)


@pytest.mark.parametrize("said", ["0", "0%", "100%", "5", "-1/day", "1/minute", "often", "1 day"])
def test_what_is_none_does_not_fit(said: str) -> None:
    assert not re.search(PATTERN, said)
    with pytest.raises(UserError):
        Budget.parse(said)
