"""YAML that may be broken or malicious: plain values alone, and no more of them than a file can mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from asd.errors import UserError

_MOST_VALUES = 100_000
"""A configuration has some hundred; a few lines of aliases of aliases stand for billions."""


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, every alias written out."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_VALUES  # a node that holds itself has no end
    parts = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
    inner = 0 if isinstance(node, yaml.ScalarNode) else sum(_values(one, known) for one in parts)
    known[id(node)] = 1 + inner
    return 1 + inner


def check_yaml(text: str) -> None:
    """Raise `ValueError` for what is no YAML, is nested too deeply, or stands for too many values."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None and _values(node, {}) > _MOST_VALUES:
            raise ValueError(f"it stands for more than {_MOST_VALUES:,} values")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def parse_yaml(text: str) -> Any:
    """What YAML says, in plain values; `ValueError` as of `check_yaml`."""
    check_yaml(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def parsed(text: str, option: str) -> Any:
    """What an option says in YAML; `UserError` where it says nothing."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{option} {text[:100]}: {error}") from error


def read_yaml(path: Path | str, kind: str = "file") -> Any:
    """What a YAML file, called a `kind` in messages, says in plain values.

    Raises:
        UserError: No such file, or no YAML that can be read.
    """
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"no {kind} {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())[:300]}; mend it") from error


def holds_structure(text: str) -> bool:
    """Whether text, read as YAML, is more than a single value."""
    try:
        return isinstance(parse_yaml(text), dict | list)
    except ValueError:
        return False
