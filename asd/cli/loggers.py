"""What is said of the run's logger where a config adds others, and with which run of wandb a resumed run goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import yaml

from asd.cli.arguments import CONFIG_FLAGS, options, read_mapping
from asd.run_folder import RunFolder
from asd.utils.environment import wandb_run

_FLAG = "--trainer.logger."
_TEXTS = ("save_dir", "name", "prefix")
"""Options that are text, also where they look like a number."""


def with_own_logger_named(arguments: list[str]) -> list[str]:
    """The arguments with options of the run's logger given before a config adds others, of which they would be else.

    ``--config logger/wandb --trainer.logger.name pump``: the parser takes options of a list for those of its last
    entry, and the run would lie elsewhere than was asked for.
    """
    trainers = [(at, read_mapping(path).get("trainer")) for at, _, path in options(arguments, CONFIG_FLAGS)]
    adding = [at for at, trainer in trainers if isinstance(trainer, dict) and "logger+" in trainer]
    names = {one.partition("=")[0] for one in arguments if one.startswith(_FLAG)}
    given = {name: found[-1] for name in sorted(names) if (found := list(options(arguments, (name,))))}
    if not adding or not given:
        return arguments
    named: dict[str, Any] = {}
    for flag, (_, _, value) in given.items():
        name = flag.removeprefix(_FLAG).removeprefix("init_args.")
        named[name] = value if name in _TEXTS else yaml.safe_load(value)
    first = f"--config={json.dumps({'trainer': {'logger': {'init_args': named}}})}"
    moved = {
        place for name in names for at, length, _ in options(arguments, (name,)) for place in range(at, at + length)
    }
    rest = [(place, one) for place, one in enumerate(arguments) if place not in moved]
    return [part for place, one in rest for part in ([first, one] if place == adding[0] else [one])]


@contextlib.contextmanager
def same_wandb_run(trainer: Any, checkpoint: str | None) -> Iterator[None]:
    """Have wandb loggers that name no run of wandb's go on with that of the run that a checkpoint is of.

    For as long as the loggers are built: whoever trains with the configuration anew shall get a run of its own.

    Args:
        trainer: The configuration of the trainer, which is changed and restored.
        checkpoint: That the run goes on from; ``None``: it begins.
    """
    folder = None if checkpoint is None else RunFolder.of_checkpoint(checkpoint)
    known = None if folder is None else wandb_run(folder.environment)
    found = trainer.get("logger")
    loggers = [one for one in (found if isinstance(found, list) else [found]) if _is_unnamed(one)]
    for one in loggers if known else ():
        one.init_args["id"] = known
    yield
    for one in loggers:
        one.init_args["id"] = None


def _is_unnamed(logger: Any) -> bool:
    if not str(getattr(logger, "class_path", "")).endswith(".WandbLogger"):
        return False
    return not any(logger.init_args.get(name) for name in ("id", "version"))
