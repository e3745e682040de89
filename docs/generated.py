"""What the book takes from the program itself: Markdown below `reference/generated`, written anew at every build."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path

from cards import cards
from configuration import configuration
from interfaces import events, routes
from sphinx.application import Sphinx

from asd import cli, plugins
from asd.cli.catalogue import markdown_table, rows, score_sources
from asd.cli.short_help import short_help
from asd.utils import configs

API = ("asd", "asd.data", "asd.encoders", "asd.heads", "asd.scoring", "asd.training", "asd.evaluation", "asd.inference",
       "asd.testing")  # fmt: skip
"""Packages that are doors: what they name is public."""

EXAMPLES = Path(__file__).parent / "reference" / "commands"
"""Real output of commands, one file a command, which the page of the command includes."""


def api() -> Iterator[tuple[str, str]]:
    """A page for each public package, by autodoc."""
    for name in API:
        # What the first of them shows is of the others, which the index names.
        option = "   :no-index:\n" if name == "asd" else ""
        yield f"api/{name}.md", f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{option}```\n"
    listed = "\n".join(API)
    yield "api/index.md", f"# Python API\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


def commands() -> Iterator[tuple[str, str]]:
    """A page for each command: its help, and the examples that are written beside this file."""
    every = {**cli.TRAINER_COMMANDS, **cli.SMALL_COMMANDS}
    listed = "\n".join(f"| [`asd {name}`]({name}.md) | {text} |" for name, text in every.items())
    contents = "\n".join(every)
    yield (
        "commands/index.md",
        f"""# Commands

| command | |
|---|---|
{listed}

`asd COMMAND --help` shows the help that its page shows. Every command takes `--plugin MODULE`, which is imported first:
a checkpoint may name the classes in it. All commands have the same [exit codes](../../exit_codes.md).

```{{toctree}}
:hidden:

{contents}
```
""",
    )
    for name, text in every.items():
        written = EXAMPLES / f"{name}.md"
        example = f"{written.read_text(encoding='utf-8').strip()}\n\n" if written.is_file() else ""
        trained = name in cli.TRAINER_COMMANDS
        helps = [short_help(name, text)] if trained else _helps(cli.parser_of(name))
        said = "\n\n".join(f"```text\n{one.strip()}\n```" for one in helps)
        more = "\n\nAll that can be set: [configuration](../configuration/index.md)." if trained else ""
        more += "\n\nIts table is [among the others](../listings.md)." if name in cli.LISTINGS else ""
        title = f"{text[0].upper()}{text[1:]}"
        yield f"commands/{name}.md", f"# asd {name}\n\n{title}.\n\n{example}## Help\n\n{said}{more}\n"


def _helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a command, and of each of its actions."""
    parser.formatter_class = functools.partial(argparse.HelpFormatter, width=100)  # type: ignore[assignment]
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _helps(below)


def listings() -> Iterator[tuple[str, str]]:
    """The tables that the program itself shows."""
    parts = []
    for name in cli.LISTINGS:
        title = name.replace("-", " ").capitalize()
        parts += [f"## {title}", f"`asd {name}`: {cli.SMALL_COMMANDS[name]}.", markdown_table(rows(name))]
    tables = "\n\n".join(parts)
    yield (
        "listings.md",
        f"""# What there is to choose

Classes and recipes that come with the program; the commands show those of your plug-ins, too, and `--json` shows all
arguments. What each argument does is said on the pages of the [configuration](configuration/index.md).

{tables}

## Where official scores of encoders are from

{chr(10).join(f"- {line}." for line in score_sources())}
""",
    )


def packaged() -> Iterator[tuple[str, str]]:
    """The configurations that come with the program, as they are."""
    parts = []
    for name, path in configs.packaged().items():
        text = path.read_text(encoding="utf-8").strip()
        parts += [f"## {name}", f"{configs.summary(path)}.", f"```yaml\n{text}\n```"]
    files = "\n\n".join(parts)
    yield (
        "configs.md",
        f"""# Configurations that come with the program

Each goes by its name: `--config recipe/beats`. One that builds on others names them under `base`; `asd configs show
NAME` prints the whole, and `asd configs copy NAME` writes it, to change it.

{files}
""",
    )


PAGES = (api, cards, commands, configuration, events, listings, packaged, routes)
"""Functions that give the place and the text of pages."""


def write(app: Sphinx) -> None:
    """Write all pages; those that there are no longer go."""
    folder = Path(app.srcdir) / "reference" / "generated"
    plugins.load_all()
    wanted = {folder / name: text for pages in PAGES for name, text in pages()}
    for path in folder.rglob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # One that is as it was keeps its time, so that it is not read again.
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as an extension."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
