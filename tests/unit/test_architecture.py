"""The directions of import that keep the parts replaceable."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ("encoders", "heads", "scoring")
LIGHTNING_ALLOWED = {"asd.training.warmup"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("asd_plugins", *parts[1:]) if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for folder in ("asd", "plugins") for p in (ROOT / folder).rglob("*.py")}


def imports(name: str, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(MODULES[name].read_text())
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one for one in submodules if one in MODULES} or {node.module}
    return found


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name: str) -> None:
    used = imports(name)
    part = name.split(".")[1] if name.count(".") else ""
    if not name.startswith(("asd.cli", "asd.__main__")):
        assert not {one for one in used if one.startswith("asd.cli")}, "nothing imports the command line"
    if name.startswith("asd_plugins"):
        allowed = (
            "asd.encoders", "asd.heads", "asd.scoring", "asd.data", "asd.errors", "asd.utils.precision", "asd_plugins",
        )  # fmt: skip
        assert all(one.startswith(allowed) for one in used if one.startswith(("asd.", "asd_plugins"))), used
        return
    assert not {one for one in used if one.startswith("asd_plugins")}, "asd never imports a concrete plug-in"
    if part in LIBRARIES or name == "asd.evaluation.metrics":
        assert name in LIGHTNING_ALLOWED or not any(one.startswith("lightning") for one in used)
        others = [f"asd.{one}" for one in LIBRARIES if one != part]
        assert not [one for one in used if one.startswith(tuple(others))], "encoders, heads, scoring know no other"
        assert not [one for one in used if one.startswith("asd.data") and one != "asd.data.clip"]


def test_no_import_cycle() -> None:
    graph = {
        name: {one for one in imports(name, top_level_only=True) if one in MODULES and one != name} for name in MODULES
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(f"import cycle: {cycle.args[1]}")
    assert set(order) >= set(MODULES)


def test_files_stay_small() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert not {name: n for name, n in lengths.items() if n > 300}
