"""What is done to the command line before LightningCLI parses it."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from asd.errors import UserError
from asd.utils import configs

CONFIG_FLAGS = ("--config", "-c")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def options(arguments: list[str], flags: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Position, length in arguments (1 or 2) and value of each occurrence of one of the `flags`."""
    at = 0
    while at < len(arguments):
        flag, equals, value = arguments[at].partition("=")
        if flag in flags and (equals or at + 1 < len(arguments)):
            yield (at, 1, value) if equals else (at, 2, arguments[at + 1])
            at += 1 if equals else 2
        else:
            at += 1


def configs_first(arguments: list[str]) -> list[str]:
    """The arguments with every config file before every flag: a flag beats a config wherever it stands."""
    found = list(options(arguments, CONFIG_FLAGS))
    moved = {position for at, length, _ in found for position in range(at, at + length)}
    rest = [argument for position, argument in enumerate(arguments) if position not in moved]
    return [rest[0], *(part for _, _, value in found for part in ("--config", value)), *rest[1:]]


@contextlib.contextmanager
def as_files(arguments: list[str]) -> Iterator[list[str]]:
    """The arguments with every config as a file that builds on no other: the parser knows nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        changed = list(arguments)
        for at, length, name in options(arguments, CONFIG_FLAGS):
            own = Path(folder, str(at))  # two configs may have one name
            path = configs.standalone(name, own)
            changed[at + length - 1] = str(path) if length == 2 else f"--config={path}"
        yield changed


def read_mapping(path: str) -> dict[str, Any]:
    """A config, given by its file or its name, with what it builds on; one that the program itself adds is JSON.

    Raises:
        UserError: Missing, or not a YAML mapping.
    """
    content = json.loads(path) if path.startswith("{") else configs.read(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping; a config has sections such as `model:` and `data:`")
    return content


def given(arguments: list[str], key: str) -> Any:
    """What is given last for a dotted key, on the command line or else in a config; ``None``: nothing."""
    found = None
    for _, _, path in options(arguments, CONFIG_FLAGS):
        value: Any = read_mapping(path)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found = found if value is None else value
    for _, _, value in options(arguments, (f"--{key}",)):
        found = value
    return found


def every_class(arguments: list[str]) -> set[str]:
    """Every dotted path that may name a class, in configs and on the command line."""
    configs = [read_mapping(path) for _, _, path in options(arguments, CONFIG_FLAGS)]
    texts = [*_class_paths(configs), *(part.rpartition("=")[2] for part in arguments)]
    return {text for text in texts if _DOTTED.fullmatch(text)}


def _class_paths(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from [part] if isinstance(part, str) else _class_paths(part)
