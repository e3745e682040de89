"""The directions of import that keep the parts replaceable, and the page that tells of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("asd_plugins", *parts[1:]) if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for folder in ("asd", "plugins") for p in (ROOT / folder).rglob("*.py")}


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every import, also those inside functions; those for types alone are never run."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield child
            yield from _statements(child)


@cache
def imports(name: str) -> frozenset[str]:
    found: set[str] = set()
    for node in _statements(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one for one in submodules if one in MODULES} or {node.module}
    return frozenset(found)


@cache
def room(name: str) -> str:
    """The package a module is in, or itself; `asd.data` is large, so its packages are rooms of their own."""
    parts = name.split(".")
    depth = 1 if parts[0] == "asd_plugins" else 3 if parts[:2] == ["asd", "data"] else 2
    while depth > 1 and MODULES.get(".".join(parts[:depth])) is None:
        depth -= 1
    return ".".join(parts[:depth])


# What each room may import of ours, beside itself and the NOUNS; a room that is not here does not exist.
NOUNS = {"asd.errors", "asd._version", "asd.machine", "asd.moved", "asd.described", "asd.run_folder", "asd.utils"}
FOUNDATION = {*NOUNS, "asd.plugins", "asd.trust"}
DATA = {"asd.data.clip", "asd.data.audio", "asd.data.layouts", "asd.data.mixing", "asd.data.dataset"}
MAY_IMPORT: dict[str, set[str]] = {
    "asd": set(),
    "asd.errors": set(),
    "asd._version": set(),
    "asd.utils": {"asd.errors", "asd._version"},
    "asd.machine": {"asd.errors", "asd.utils"},
    "asd.run_folder": {"asd.errors"},
    "asd.moved": set(),
    "asd.described": {"asd.moved"},
    "asd.plugins": NOUNS,
    "asd.trust": {*NOUNS, "asd.plugins"},
    "asd.data": NOUNS,
    "asd.data.clip": NOUNS,
    "asd.data.audio": {*NOUNS, "asd.data.clip"},
    "asd.data.layouts": {*NOUNS, "asd.data.clip", "asd.data.audio"},
    "asd.data.calibration": {*NOUNS, "asd.data.clip", "asd.data.layouts"},
    "asd.data.classes": {*NOUNS, "asd.data.clip"},
    "asd.data.far_noise": {*NOUNS, "asd.data.clip", "asd.data.audio"},
    "asd.data.mixing": {*NOUNS, "asd.data.clip"},
    "asd.data.dataset": {*NOUNS, "asd.data.clip", "asd.data.audio", "asd.data.mixing"},
    "asd.data.sampling": {*NOUNS, "asd.data.clip", "asd.data.dataset"},
    "asd.data.probe": {*NOUNS, "asd.data.clip", "asd.data.audio", "asd.data.dataset"},
    "asd.data.pseudo_labels": NOUNS,
    "asd.data.pseudo_label_file": {*NOUNS, "asd.data.clip"},
    "asd.data.options": {*NOUNS, *DATA, "asd.data.classes", "asd.data.sampling"},
    "asd.data.datamodule": {
        *NOUNS, *DATA, "asd.data.options", "asd.data.classes", "asd.data.sampling", "asd.data.probe",
        "asd.data.pseudo_label_file", "asd.data.calibration", "asd.data.far_noise",
    },
    "asd.data.synthesis": {*NOUNS, *DATA},
    "asd.data.check": {*NOUNS, *DATA},
    "asd.data.download": NOUNS,
    "asd.data.modules": {
        *NOUNS, *DATA, "asd.data.options", "asd.data.datamodule", "asd.data.synthesis", "asd.evaluation",
    },
    "asd.configured": FOUNDATION,
    "asd.encoders": FOUNDATION,
    "asd.heads": FOUNDATION,
    "asd.scoring": FOUNDATION,
    "asd.evaluation": {*FOUNDATION, "asd.configured", "asd.data.clip", "asd.data.layouts", "asd.scoring"},
    "asd.plots": {*NOUNS, "asd.evaluation", "asd.scoring"},
    "asd.training": {
        *FOUNDATION, "asd.data.clip", "asd.data.classes", "asd.data.sampling", "asd.data.datamodule", "asd.encoders",
        "asd.heads", "asd.scoring", "asd.evaluation", "asd.plots",
    },
    "asd.inference": {*FOUNDATION, *DATA, "asd.data.calibration", "asd.scoring", "asd.evaluation", "asd.training"},
    "asd.events": NOUNS,
    "asd.plant": {*NOUNS, "asd.data.audio", "asd.scoring", "asd.evaluation", "asd.inference", "asd.events"},
    "asd.report": {
        *FOUNDATION, *DATA, "asd.data.datamodule", "asd.encoders", "asd.scoring", "asd.evaluation", "asd.plots",
        "asd.training", "asd.inference",
    },
    "asd.comparison": {
        *FOUNDATION, "asd.configured", "asd.data.clip", "asd.data.datamodule", "asd.encoders", "asd.scoring",
        "asd.evaluation", "asd.training", "asd.report",
    },
    "asd.serve": {*NOUNS, "asd.data.clip", "asd.data.audio", "asd.inference"},
    "asd.testing": {*FOUNDATION, *DATA, "asd.data.datamodule", "asd.encoders", "asd.heads", "asd.scoring"},
    "asd.fitting": {
        *FOUNDATION, "asd.data.datamodule", "asd.encoders", "asd.heads", "asd.scoring", "asd.evaluation",
        "asd.training", "asd.inference",
    },
    "asd_plugins": {*NOUNS, "asd.encoders", "asd.heads", "asd.scoring", "asd.data"},
}  # fmt: skip
EVERYTHING = {"asd.cli", "asd.__main__"}
WITHOUT_LIGHTNING = ("asd.encoders", "asd.heads", "asd.scoring", "asd.evaluation", "asd.plots", "asd.inference",
                     "asd.events", "asd.plant", "asd.serve", "asd.utils", "asd.data.audio", "asd.data.layouts",
                     "asd_plugins")  # fmt: skip


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name: str) -> None:
    own = room(name)
    used = {room(one) for one in imports(name) if one in MODULES} - {own}
    if own not in EVERYTHING:
        assert used <= MAY_IMPORT[own], f"{own} may not import {', '.join(sorted(used - MAY_IMPORT[own]))}"
    if own.startswith(WITHOUT_LIGHTNING):
        assert not any(one.split(".")[0] == "lightning" for one in imports(name))


@pytest.mark.parametrize("of", [str, room], ids=["modules", "rooms"])
def test_no_import_cycle_also_none_hidden_in_functions(of: type[str]) -> None:
    graph: dict[str, set[str]] = {of(name): set() for name in MODULES}
    for name in MODULES:
        graph[of(name)] |= {of(one) for one in imports(name) if one in MODULES} - {of(name)}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(f"import cycle: {cycle.args[1]}")
    assert set(order) == set(graph)


def test_rooms_that_are_gone_are_not_listed() -> None:
    assert MAY_IMPORT.keys() | EVERYTHING == {room(name) for name in MODULES}


def test_files_stay_small() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert not {name: n for name, n in lengths.items() if n > 300}


def test_private_lightning_stays_in_one_file() -> None:
    """Names with an underscore of objects that are not ours, in files that import Lightning."""
    for name, path in MODULES.items():
        if name == "asd.training.lightning_seams" or not any(one.startswith("lightning") for one in imports(name)):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                assert isinstance(node.value, ast.Name), f"{name}: {ast.unparse(node)}"
                assert node.value.id in ("self", "cls", "os"), f"{name}: {ast.unparse(node)}"


def rooms_of_the_page() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `((?:asd|plugins)/[a-z/]*)` \|[^|]*\| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    return {room: set(re.findall(r"[a-z_0-9]+", modules)) for room, modules in rows}


def test_the_rooms_in_the_page_are_those_on_disk() -> None:
    there: dict[str, set[str]] = {}
    for path in MODULES.values():
        folder = path.parent.relative_to(ROOT).as_posix() + "/"
        modules = there.setdefault(folder, set())
        if path.stem != "__init__":
            modules.add(path.stem)
    assert rooms_of_the_page() == there
