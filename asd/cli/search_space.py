"""What `asd fit --search` may draw: options with values or ranges, from a YAML file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.utils import configs

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, "BaseDistribution"]
_RANGE = {"low", "high", "log", "step"}


def read_space(name: str) -> Space:
    """The options and what may be drawn for each, by name.

    Args:
        name: A file, or one that comes with the program.

    Raises:
        UserError: No such file, or an option without values or with a range that is none.
    """
    content = configs.read(name, "search")
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{name} names no option; a line is such as `model.optimizer.lr: {{low: 1e-4, high: 1e-2}}`")
    return {str(option): _distribution(name, str(option), content[option]) for option in content}


def _distribution(name: str, option: str, given: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    try:
        if isinstance(given, list):
            return CategoricalDistribution([_text(one) for one in given])
        if not isinstance(given, Mapping) or not {"low", "high"} <= given.keys() <= _RANGE:
            raise ValueError("give a list of values, or low and high, and log or step if wanted")
        ends = {key: _number(given[key]) for key in given if key != "log"}
        whole = all(isinstance(one, int) for one in ends.values())
        return (IntDistribution if whole else FloatDistribution)(log=bool(given.get("log", False)), **ends)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"{name}, {option}: {str(error).replace('`', '')}") from error


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    try:
        return value if isinstance(value, int | float) else float(value)  # 1e-4, which YAML takes for text
    except ValueError:
        raise ValueError(f"{value!r} is no number") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def as_options(drawn: Mapping[str, Any]) -> list[str]:
    """What was drawn, as arguments of `asd fit`."""
    return [f"--{option}={_text(value)}" for option, value in drawn.items()]


def extremes(space: Space) -> Iterator[dict[str, Any]]:
    """The first and the last that may be drawn of everything: they are to be understood before anything is trained."""
    for end in (0, -1):
        yield {
            option: one.choices[end] if hasattr(one, "choices") else (one.low, one.high)[end]  # type: ignore[attr-defined]
            for option, one in space.items()
        }
