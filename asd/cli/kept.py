"""What a checkpoint adds to the command line of `fit`, `validate`, `test` and `predict`: its configuration, as data."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jsonargparse
import lightning.pytorch as pl
import yaml

from asd.cli.arguments import CONFIG_FLAGS, every_class, given, options, read_mapping
from asd.errors import Notice, UserError
from asd.run_folder import RunFolder, checkpoint_at
from asd.training import checkpoints
from asd.training.callbacks import RunCheckpoint, RunOutputs
from asd.training.module import AnomalyDetector
from asd.training.restore import buildable
from asd.training.restore_data import trusted_data
from asd.training.warmup import WarmUp
from asd.trust import trusted_arguments

_MODEL: dict[str, type] = {"model": AnomalyDetector}
_BLOCKS = {**_MODEL, "warmup": WarmUp, "checkpoint": RunCheckpoint, "outputs": RunOutputs}
_ELSEWHERE = ("default_root_dir", "logger", "plugins", "profiler")
"""What the trainer would write or connect to: that is for the user to say, not for a file."""
_USUAL_LOGGER = "lightning.pytorch.loggers.CSVLogger"


@contextlib.contextmanager
def with_checkpoint(arguments: list[str]) -> Iterator[list[str]]:
    """The arguments with the checkpoint as a file, and with the configuration kept in it as the first config file.

    Raises:
        UserError: No such checkpoint, or one whose configuration asks for what a file may not ask for.
    """
    place = given(arguments, "ckpt_path")
    if place in (None, "null"):
        if arguments[0] != "fit":
            warnings.warn(
                "no checkpoint is given (--ckpt_path), so nothing was trained: embeddings and scores are those of the "
                "weights that the encoder starts with",
                Notice,
                stacklevel=2,
            )
        yield arguments
        return
    path = _newest(arguments) if place == "last" else checkpoint_at(str(place))
    if place == "best":
        raise UserError(
            "--ckpt_path best: there is none, for labels of test clips must not choose it; give last, or a file"
        )
    arguments = [*arguments, "--ckpt_path", str(path)]
    if arguments[0] != "fit":
        arguments = _into_its_run(arguments, path)
    content = checkpoints.load(path)
    config = checkpoints.read_description(content, path)["config"]
    if config is None:
        yield arguments
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments = _of_today(arguments, Path(folder))
        file = Path(folder) / "kept.yaml"
        try:
            config = checkpoints.without_weights_files(config)
            buildable(config["model"], content.get("state_dict", {}), every_class(arguments))
            file.write_text(yaml.safe_dump(_vetted(config, arguments)), encoding="utf-8")
        except (UserError, jsonargparse.ArgumentError, yaml.YAMLError) as error:
            raise UserError(f"{path}: {error}") from error
        yield [arguments[0], "--config", str(file), *arguments[1:]]


def _into_its_run(arguments: list[str], checkpoint: Path) -> list[str]:
    """Have what is found out about a checkpoint written where its run is, unless the user names a place."""
    run = RunFolder.of_checkpoint(checkpoint)
    if given(arguments, "outputs.folder") is None:
        if run is None:
            return arguments
        arguments = [*arguments, "--outputs.folder", str(run)]
    asked = given(arguments, "trainer.logger") is not None or any(
        one.startswith("--trainer.logger") for one in arguments
    )
    return arguments if asked else [*arguments, "--trainer.logger", "false"]


def _of_today(arguments: list[str], folder: Path) -> list[str]:
    """The arguments with a copy, made in `folder`, of each run's ``config.yaml`` that an older version wrote."""
    copied = list(arguments)
    for at, length, name in options(arguments, CONFIG_FLAGS):
        path = Path(name)
        if path.name != "config.yaml" or not (path.parent / "checkpoints").is_dir():
            continue
        content = read_mapping(name)
        if checkpoints.of_today(content) != content:
            copy = folder / f"{at}.yaml"
            copy.write_text(yaml.safe_dump(checkpoints.of_today(content)), encoding="utf-8")
            copied[at : at + length] = [f"--config={copy}"] if length == 1 else ["--config", str(copy)]
    return copied


def _vetted(config: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    fitting, named = arguments[0] == "fit", every_class(arguments)
    blocks = _BLOCKS if fitting else _MODEL
    found = {name: trusted_arguments(config[name], cls, name, named) for name, cls in blocks.items() if name in config}
    found.get("outputs", {}).pop("folder", None)  # that is for the user to say, not for a file
    found["data"], left = trusted_data(config["data"], named)
    trainer = {key: one for key, one in config["trainer"].items() if given(arguments, f"trainer.{key}") is None}
    found["trainer"] = _trainer(trainer, named) if fitting else _precision(trainer)
    seed = config.get("seed_everything")
    if seed is not None and not isinstance(seed, int):
        raise UserError(f"seed_everything is a {type(seed).__name__}, where a number is due")
    for address in left:
        warnings.warn(
            f"the checkpoint's data lie at {address}, which is not opened because a file says so; give --data.root",
            Notice,
            stacklevel=2,
        )
    return {**found, "seed_everything": seed}


def _precision(trainer: dict[str, Any]) -> dict[str, Any]:
    return trusted_arguments({"precision": trainer.get("precision")}, pl.Trainer, "trainer")


def _trainer(trainer: dict[str, Any], named: Collection[str]) -> dict[str, Any]:
    for name in _ELSEWHERE:
        value = trainer.get(name)
        usual = isinstance(value, dict) and value.get("class_path") == _USUAL_LOGGER
        if value and not usual:
            warnings.warn(f"trainer.{name} of the checkpoint is left out; give it again", Notice, stacklevel=2)
    rest = {name: value for name, value in trainer.items() if name not in _ELSEWHERE}
    return trusted_arguments(rest, pl.Trainer, "trainer", named)


def _newest(arguments: list[str]) -> Path:
    """The last checkpoint of the newest run where this one would write."""
    logger = given(arguments, "trainer.logger")
    logger = logger.get("init_args") if isinstance(logger, dict) else None
    place = dict(logger) if isinstance(logger, dict) else {}
    for name in ("save_dir", "name"):
        for key in (f"trainer.logger.init_args.{name}", f"trainer.logger.{name}"):
            value = given(arguments, key)
            place[name] = place.get(name) if value is None else value
    folder = Path(str(place["save_dir"] or "runs"), str(place["name"] or "asd"))
    found = sorted(folder.glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"--ckpt_path last: no run in {folder} keeps a checkpoint; give the file, or train first")
    return found[-1]
