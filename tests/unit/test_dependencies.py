"""What is imported is declared, and what is declared is used: nothing leans on a dependency of a dependency."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DISTRIBUTIONS = packages_distributions()  # reads the records of every package: once
OWN = {"asd", "asd_plugins", "tests"}
# Distributions that may not be installed here, by the module that is imported.
OPTIONAL = {"sounddevice": "sounddevice", "umap": "umap-learn"}
# Declared and used, but not by an import statement.
USED_OTHERWISE = {
    "furo": "the look of the book",
    "httptools": "uvicorn's parser",
    "myst-parser": "Markdown of the book",
    "sphinx": "the book",
    "uvloop": "uvicorn's loop",
    "tensorboard": "Lightning's logger of that name",
    "umap-learn": "imported by name, where it is installed",
    "wandb": "Lightning's logger of that name, which pictures are given to",
}
# Gone from the standard library in 3.13 or before.
GONE = {"aifc", "asynchat", "asyncore", "audioop", "cgi", "chunk", "crypt", "distutils", "imghdr", "imp", "pipes"}
GONE |= {"sndhdr", "sunau", "telnetlib", "uu", "xdrlib"}


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@cache
def imported(*folders: str) -> dict[str, set[str]]:
    """Top-level modules, and the files that import them anywhere."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def distribution_of(module: str) -> str:
    found = DISTRIBUTIONS.get(module, [OPTIONAL.get(module, module)])
    return found[0].lower().replace("_", "-")


def foreign(*folders: str) -> dict[str, set[str]]:
    return {
        distribution_of(name): files
        for name, files in imported(*folders).items()
        if name not in sys.stdlib_module_names and name not in OWN
    }


NEEDED = {name_of(one) for one in PROJECT["dependencies"]}
BY_EXTRA = {extra: {name_of(one) for one in given} for extra, given in EXTRAS.items()}
DECLARED = NEEDED.union(*(given for extra, given in BY_EXTRA.items() if extra != "test"))


def test_every_import_is_declared() -> None:
    missing = {name: files for name, files in foreign("asd", "plugins").items() if name not in DECLARED}
    assert not missing
    for_tests = DECLARED | BY_EXTRA["test"]
    assert not {name: files for name, files in foreign("tests").items() if name not in for_tests}


# Where the package of an extra may be imported; all else has to do without extras.
HOMES: dict[str, str | tuple[str, ...]] = {
    "serve": ("asd/serve/", "asd/events/figures.py"),
    "mqtt": "asd/events/mqtt.py",
    "metrics": ("asd/serve/", "asd/events/figures.py"),
    "export": "asd/inference/",
    "microphone": "asd/inference/stream.py",
    "lora": "plugins/lora.py",
    "search": ("asd/cli/search.py", "asd/cli/search_space.py"),
}


@pytest.mark.parametrize("extra", HOMES)
def test_packages_of_an_extra_stay_where_the_extra_is_needed(extra: str) -> None:
    for name, files in foreign("asd", "plugins").items():
        if name in BY_EXTRA[extra] - NEEDED:
            assert not [one for one in files if not one.startswith(HOMES[extra])], name


def test_everything_declared_is_used() -> None:
    used = set(foreign("asd", "plugins", "docs")) | set(USED_OTHERWISE)
    assert not DECLARED - used
    assert not set(USED_OTHERWISE) - DECLARED


def test_nothing_is_imported_that_newer_pythons_lack() -> None:
    assert not set(imported("asd", "plugins", "tests")) & GONE


def test_the_packages_here_are_within_the_bounds() -> None:
    for requirement in PROJECT["dependencies"]:
        least = re.search(r">=([\d.]+)", requirement)
        assert least, f"{requirement} has no lower bound"
        found = re.findall(r"\d+", version(name_of(requirement)))
        assert [int(part) for part in found[:3]] >= [int(part) for part in least[1].split(".")], requirement
