"""What may be said beside a recording: in the query, or as fields of the form that brings it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import Request

# What `asd.scoring.budget.Budget` takes, but for spaces, and for more false alarms than windows of 36 s.
_NUMBER = r"([1-9][0-9]{0,2}(\.[0-9]{1,3})?|0?\.[0-9]{0,3}[1-9]0{0,2})"
_HOURLY = r"([1-9][0-9]?(\.[0-9]{1,3})?|0?\.[0-9]{0,3}[1-9]0{0,2})"
_BUDGET = rf"^({_NUMBER}/(day|week|month|year)|{_HOURLY}(/hour|%)|0?\.[0-9]{{0,5}}[1-9]0{{0,2}})?$"


class Options(BaseModel):
    """Of every route that takes recordings."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    machine: str = ""
    """The machine, or machine and section; needed where the service knows several."""
    name: str = ""
    """What the answer calls a recording that comes without the name of a file."""


class Scoring(Options):
    """Of a recording to score."""

    explain: bool = False
    """Tell which bands and seconds raise the score, and which normal clips are alike; takes longer."""


class Teaching(Options):
    """Of a recording whose verdict was wrong."""

    kind: Literal["false_alarm", "missed"] | SkipJsonSchema[None] = None
    """What was wrong with the verdict; needed."""


class Calibrating(Options):
    """Of recordings to set limits by."""

    false_alarms: Annotated[str, Field(json_schema_extra={"pattern": _BUDGET, "examples": ["1/day", "5%"]})] = ""
    """How many are allowed: 1/day, 0.5/week, 5% of all decisions; as until now where it is not said."""
    add: bool = True
    """Make the recordings references as well."""


Chosen = TypeVar("Chosen", bound=Options)


def is_form(request: Request) -> bool:
    """Whether the body of a request is a form, which may hold options."""
    return request.headers.get("content-type", "").casefold().startswith("multipart/form-data")


def joined(request: Request, query: Chosen, fields: Mapping[str, str]) -> Chosen:
    """The options of a form, and of the query, which counts where both say one.

    Raises:
        RequestValidationError: The form says what cannot be, also where the query counts.
    """
    try:
        form = type(query).model_validate(dict(fields))
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("form", *one["loc"])} for one in error.errors()]) from error
    said = type(query).model_fields.keys() & request.query_params.keys()
    return form.model_copy(update={name: getattr(query, name) for name in said})
