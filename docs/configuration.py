"""Pages of all that a configuration may say, from the parser of `asd fit` and the classes that it takes."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser

from asd import plugins
from asd.cli.catalogue import as_yaml
from asd.cli.training import TrainingCLI, training_cli

SUPPRESSED = "==SUPPRESS=="
TRAINER = "trainer."
_NAMES = {bool: "bool", int: "int", float: "float", str: "text", Path: "path", type(None): "null", dict: "mapping"}
_SECTIONS = re.compile(r"\n(?:Args|Attributes|Raises|Returns|Example|Examples):\n")


class Key(NamedTuple):
    """One key.

    Attributes:
        name: With dots, as on the command line.
        hint: Its type.
        default: As one writes it; empty: it must be given.
        text: What the docstring says.
    """

    name: str
    hint: Any
    default: str
    text: str


class _Ready(Exception):  # noqa: N818 - no error
    pass


def fit_keys() -> list[Key]:
    """Every key of `asd fit` itself, in its order; those of the classes that it names are theirs."""
    found: list[Key] = []

    class Parsers(TrainingCLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            found.extend(_keys(self._subcommand_parsers["fit"]))
            raise _Ready

    try:
        training_cli(["fit"], Parsers)
    except _Ready:
        return found
    raise AssertionError("the parser was not asked to parse")


@functools.cache
def class_keys(cls: type) -> list[Key]:
    """The keys of `init_args` of a class."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False)
    return _keys(parser)


def _keys(parser: ArgumentParser) -> list[Key]:
    return [
        Key(one.dest, one._typehint, "" if one.required else as_yaml(_plain(one.default)), one.help or "")
        for one in parser._actions
        if getattr(one, "_typehint", None) is not None and one.default != SUPPRESSED
    ]


def _plain(value: Any) -> Any:
    return value.as_dict() if hasattr(value, "as_dict") else value


def kinds() -> dict[type, dict[str, type]]:
    """Each contract that a key may name a class of, with its classes by name: found from key to key."""
    found: dict[type, dict[str, type]] = {}
    todo = [key.hint for key in fit_keys()]
    while todo:
        for base in _classes(todo.pop()):
            if base in found or not _ours(base):
                continue
            found[base] = {name: cls for name, cls in plugins.known(base).items() if _ours(cls)}
            todo += [key.hint for cls in found[base].values() for key in class_keys(cls)]
    return dict(sorted(((base, classes) for base, classes in found.items() if classes), key=lambda one: noun(one[0])))


def _ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ("asd", "asd_plugins")


def noun(base: type) -> str:
    """What its page is called."""
    return plugins.noun(base).replace(" ", "_")


def _classes(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint):
        yield hint
    for one in typing.get_args(hint):
        yield from _classes(one)


def hint_text(hint: Any) -> str:
    """A type in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{as_yaml(one)}`" for one in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(hint_text, args)))
    if origin is typing.Annotated:
        return hint_text(args[0])
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"list of {hint_text(args[0])}"
    if origin is not None:
        return _NAMES.get(origin, getattr(origin, "__name__", str(origin)))
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def markdown(text: str) -> str:
    """What a docstring says, as Markdown in one line."""
    text = re.sub(r":\w+:`~?", "`", " ".join(text.split())).replace("``None``", "`null`")
    parts = re.split(r"(``.*?``|`.*?`)", text)
    return "".join(one if one.startswith("`") else re.sub(r"([<$*_\[])", r"\\\1", one) for one in parts)


def table(keys: Iterable[Key], links: dict[str, str]) -> str:
    """The keys as a table; names of contracts link to their pages."""
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for key in keys:
        hint = re.sub(r"\b[A-Z]\w+", lambda one: links.get(one[0], one[0]), hint_text(key.hint))
        default = f"`{key.default}`" if key.default else "must be given"
        cells = (f"`{key.name}`", hint, default, markdown(key.text))
        lines.append(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in cells)} |")
    return "\n".join(lines)


def configuration() -> Iterator[tuple[str, str]]:
    """Pages of the keys of `asd fit`, of the trainer's, and of each contract with its classes."""
    every, contracts = fit_keys(), kinds()
    links = {base.__name__: f"[{base.__name__}]({noun(base)}.md)" for base in contracts}
    own = table((key for key in every if not key.name.startswith(TRAINER)), links)
    trainer = table((key for key in every if key.name.startswith(TRAINER)), links)
    pages = "\n".join(["trainer", *map(noun, contracts)])
    yield (
        "configuration/index.md",
        "# Configuration\n\nAll that `asd fit`, `validate`, `test` and `predict` take: as keys of a YAML file "
        "(`--config`), or with dots as options (`--model.optimizer.lr 1e-4`). Where a class is due, its name is enough "
        "(`--model.scorer NeighboursScorer`); its own keys are `init_args` in a file, and options behind its place "
        f"(`--model.scorer.k 4`).\n\n{own}\n\n```{{toctree}}\n:maxdepth: 1\n\n{pages}\n```\n",
    )
    yield (
        "configuration/trainer.md",
        "# Trainer\n\nKeys of Lightning's trainer, told by its own documentation; the defaults are those of this "
        f"program.\n\n{trainer}\n",
    )
    for base, classes in contracts.items():
        yield f"configuration/{noun(base)}.md", _contract(base, classes, links)


def _contract(base: type, classes: dict[str, type], links: dict[str, str]) -> str:
    # A class that is its own contract has nothing in common with others.
    common = [] if base.__name__ in classes else class_keys(base)
    shared = {key.name: (key.default, key.text) for key in common}
    title = plugins.noun(base)
    lines = [f"# {title[0].upper()}{title[1:]}", "", _said(base), ""]
    if common:
        lines += ["## All of them", "", table(common, links), ""]
    for name, cls in classes.items():
        keys = [key for key in class_keys(cls) if shared.get(key.name) != (key.default, key.text)]
        lines += [] if cls is base else [f"## {name}", "", _said(cls), ""]
        nothing = "No keys but those above." if common else "No keys."
        lines += [table(keys, links) if keys else nothing, ""]
    return "\n".join(lines)


def _said(cls: type) -> str:
    text = _SECTIONS.split(f"{inspect.cleandoc(cls.__doc__ or '')}\n")[0]
    paragraphs = ("\n".join(f"- {markdown(one)}" for one in part.removeprefix("- ").split("\n- "))
                  if part.startswith("- ") else markdown(part) for part in text.strip().split("\n\n"))  # fmt: skip
    return "\n\n".join(paragraphs)
