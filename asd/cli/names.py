"""Class names on the command line and in configs, looked up before anything is built: what a wrong one was to mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl

from asd import plugins
from asd.cli.arguments import CONFIG_FLAGS, options, read_mapping
from asd.data.datamodule import ClipDataModule
from asd.errors import UserError
from asd.training.module import AnomalyDetector
from asd.trust import contracts_among, is_textual
from asd.utils.signatures import arguments as arguments_of
from asd.utils.signatures import members, of_items, of_values
from asd.utils.yaml_file import parse_yaml

_BLOCKS: dict[str, type] = {"model": AnomalyDetector, "trainer": pl.Trainer}
_CLASSES: dict[str, type] = {"data": ClipDataModule}
_FLAGS = {f"--{block}" for block in (*_BLOCKS, *_CLASSES)}
_FILES = (".yaml", ".yml", ".json")
_SPEC = ("class_path", "init_args", "dict_kwargs")


def check_names(arguments: list[str]) -> None:
    """Look up every class that configs and flags name, at whatever depth, for the contract of its place.

    Raises:
        UserError: There is none of that name; says what there is, and what was likely meant.
    """
    given = _given(arguments)
    for block, cls in _BLOCKS.items():
        _check_arguments(given.get(block), cls, block)
    for block, base in _CLASSES.items():
        _check(given.get(block), base, block)


def _given(arguments: list[str]) -> dict[str, Any]:
    """What configs and flags say together, by name; a later one beats an earlier one, and flags beat configs."""
    tree: dict[str, Any] = {}
    for _, _, path in options(arguments, CONFIG_FLAGS):
        tree = _merged(tree, read_mapping(path))
    flags = {
        one.partition("=")[0] for one in arguments if one.partition(".")[0].rstrip("+").partition("=")[0] in _FLAGS
    }
    for at, _, value in sorted(found for flag in flags for found in options(arguments, (flag,))):
        way = arguments[at].partition("=")[0].removeprefix("--")
        _put(tree, way.removesuffix("+").split("."), _value(value), more=way.endswith("+"))
    return tree


def _value(text: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError:
        return text


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: _merged(old.get(key), one) for key, one in new.items()}}
    # A class by its name alone keeps what was said of its arguments.
    return {**old, "class_path": new} if isinstance(old, Mapping) and isinstance(new, str) else new


def _put(tree: dict[str, Any], way: list[str], value: Any, more: bool) -> None:
    at = tree
    for step in way[:-1]:
        inner = at.get(step)
        inner = {"class_path": inner} if isinstance(inner, str) else inner
        at[step] = dict(inner) if isinstance(inner, Mapping) else {}
        at = at[step]
    there = at.get(way[-1])
    at[way[-1]] = [*(there if isinstance(there, list) else []), value] if more else _merged(there, value)


def _check_arguments(given: Any, cls: type, place: str) -> None:
    if not isinstance(given, Mapping):
        return
    hints = arguments_of(cls)
    for name, value in given.items():
        if name in hints:
            _check(value, hints[name], f"{place}.{name}")


def _check(value: Any, hint: Any, place: str) -> None:
    """Look up what is named in the place of a `hint`; a value that is wrong otherwise is for the parser to refuse."""
    kinds = members(hint)
    contracts = contracts_among(kinds)
    if isinstance(value, list | tuple):
        for number, one in enumerate(value):
            _check(one, of_items(kinds), f"{place}[{number}]")
    elif isinstance(value, str):
        if contracts and not is_textual(kinds) and not value.endswith(_FILES):
            _look_up(value, contracts, place)
    elif isinstance(value, Mapping) and contracts:
        path = value.get("class_path")
        cls = _look_up(path, contracts, place) if isinstance(path, str) else contracts[0]
        inner = value.get("init_args")
        flat = {name: one for name, one in value.items() if name not in _SPEC}
        _check_arguments(_merged(inner if isinstance(inner, Mapping) else {}, flat), cls, place)
    elif isinstance(value, Mapping):
        record = next((one for one in kinds if isinstance(one, type) and dataclasses.is_dataclass(one)), None)
        if record is not None:
            _check_arguments(value, record, place)
        else:
            for name, one in value.items():
                _check(one, of_values(kinds), f"{place}.{name}")


def _look_up(name: str, contracts: list[type], place: str) -> type:
    refused = None
    for base in contracts:
        try:
            return plugins.resolve(name, base)
        except UserError as error:
            refused = refused or error
    raise UserError(f"{place}: {refused}") from refused
