"""What is done to the command line before LightningCLI parses it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from asd import checkpoint as kept
from asd.errors import UserError

_CONFIG_FLAGS = ("--config", "-c")


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
    found = list(options(arguments, _CONFIG_FLAGS))
    moved = {position for at, length, _ in found for position in range(at, at + length)}
    rest = [argument for position, argument in enumerate(arguments) if position not in moved]
    return [rest[0], *(part for _, _, value in found for part in ("--config", value)), *rest[1:]]


def read_yaml(path: str) -> dict[str, Any]:
    """A config file.

    Raises:
        UserError: Missing, or not a YAML mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"no config file {path}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping; a config has sections such as `model:` and `data:`")
    return content


def named_classes(arguments: list[str], keys: Collection[str]) -> list[tuple[str, str]]:
    """For each of the `keys` that is given, the class named last, on the command line or else in a config."""
    found: dict[str, str] = {}
    for _, _, path in options(arguments, _CONFIG_FLAGS):
        content = read_yaml(path)
        for key in keys:
            value: Any = content
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            value = value.get("class_path") if isinstance(value, dict) else value
            if isinstance(value, str):
                found[key] = value
    for key in keys:
        for _, _, value in options(arguments, (f"--{key}", f"--{key}.class_path")):
            found[key] = value
    return [(key, name) for key, name in found.items() if not name.endswith((".yaml", ".yml", ".json"))]


@contextlib.contextmanager
def kept_configuration(arguments: list[str]) -> Iterator[list[str]]:
    """The arguments with the configuration kept in the checkpoint, if one is given, as the first config file."""
    paths = [value for _, _, value in options(arguments, ("--ckpt_path",))]
    if not paths or paths[-1] in ("null", "best", "last"):
        yield arguments
        return
    config = kept.read_description(kept.load(paths[-1]))["config"]
    if config is None:
        yield arguments
        return
    config = kept.without_weights_files(config)
    if arguments[0] != "fit":
        config = {key: config[key] for key in ("seed_everything", "model", "data")} | {
            "trainer": {"precision": config["trainer"]["precision"]}
        }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        yield [arguments[0], "--config", str(path), *arguments[1:]]
