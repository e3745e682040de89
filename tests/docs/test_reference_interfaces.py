"""What the reference tells other programs is so: variables, exit codes, requests, topics, and every key that is set."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from asd import plugins
from asd.cli import LISTINGS, SMALL_COMMANDS, TRAINER_COMMANDS, faults
from asd.data import ClipDataModule
from asd.encoders import Adapter, Augmentation, Encoder
from asd.events import event
from asd.events.mqtt import Address, Mqtt
from asd.heads import Head
from asd.plant.options import Options, SourceOptions
from asd.plant.outlets import Outlets
from asd.scoring import Scorer, Threshold
from asd.utils import configs
from tests.docs.reference import PAGES, REFERENCE, agree, block, first_column, keys

ROOT = Path(__file__).parents[2]
TOPIC, SOURCE = "plant/hall_1", "fan"


@pytest.fixture(scope="module")
def generated() -> Iterator[ModuleType]:
    """What writes the pages that follow from the program."""
    sys.path.insert(0, str(REFERENCE.parent))
    yield importlib.import_module("generated")
    sys.path.remove(str(REFERENCE.parent))


# Variables


def variables(tree: ast.Module) -> set[str]:
    """The variables that a module reads, also those that constants and loops over constants name."""
    constants = {
        target.id: ast.literal_eval(one.value)
        for one in tree.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant | ast.Tuple)
        for target in one.targets
        if isinstance(target, ast.Name) and _is_literal(one.value)
    }
    loops = {
        one.target.id: one.iter.id
        for one in ast.walk(tree)
        if isinstance(one, ast.comprehension) and isinstance(one.target, ast.Name) and isinstance(one.iter, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        asked = _asked(node)
        if isinstance(asked, ast.Constant):
            found.add(asked.value)
        elif isinstance(asked, ast.Name):
            said = constants[loops.get(asked.id, asked.id)]
            found |= {said} if isinstance(said, str) else set(said)
        else:
            assert asked is None, ast.unparse(node)
    return found


def _is_literal(node: ast.expr) -> bool:
    return all(isinstance(one, ast.Constant | ast.Tuple | ast.Load) for one in ast.walk(node))


def _asked(node: ast.AST) -> ast.expr | None:
    """What a piece of code asks the environment for."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return node.slice
    if isinstance(node, ast.Call) and re.fullmatch(
        r"os\.(getenv|environ\.(get|pop|setdefault))", ast.unparse(node.func)
    ):
        return node.args[0] if node.args else None
    return None


def test_every_variable_that_is_read_is_told() -> None:
    found: set[str] = set()
    for folder in ("asd", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= variables(ast.parse(text)) if re.search(r"environ\b|getenv", text) else set()
    page = PAGES["environment.md"]
    assert found == set(first_column(page.partition("Libraries read")[0]))
    deployed = "\n".join(path.read_text(encoding="utf-8") for path in configs.deployment().values())
    own = set(re.findall(r"\$\{(\w+)|os\.environ\['(\w+)'\]", deployed))
    assert {one or other for one, other in own} == set(re.findall(r"`(\w+)` \((?:compose|the image)", page))


# Exit codes


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(faults).items() if re.fullmatch("[A-Z]+", name) and isinstance(value, int)}
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGES["exit_codes.md"], re.M)}
    assert told == {0, 1, *codes, 128 + signal.SIGTERM}


# HTTP


def test_every_status_of_the_service_is_told() -> None:
    found: set[int] = set()
    for path in (ROOT / "asd/serve").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        numbers = [one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and type(one.value) is int]
        found |= {value for value in numbers if 400 <= value <= 511}
    told = {int(code) for code in re.findall(r"\b([45]\d\d)\b", PAGES["http.md"].partition("## Errors")[2])}
    assert told >= found
    assert told - found <= {405}  # of the routes themselves


def test_every_route_is_told(generated: ModuleType) -> None:
    ((_, table),) = generated.routes()
    said = sys.modules["interfaces"].described()["paths"]
    assert first_column(table) == [f"{method.upper()} {path}" for path in said for method in said[path]]
    for path, methods in said.items():
        for one in methods.values():
            (row,) = [row for row in table.splitlines() if f" {path}`" in row]
            assert all(f"`{parameter['name']}`" in row for parameter in one.get("parameters", ()))
            assert not row.endswith("|  |")
    shown = set(re.findall(r"http://[\w.]+:\d+(/[\w/]*)", PAGES["http.md"]))
    assert shown
    assert shown <= set(said)


# MQTT


def topics(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All that is published below a topic and where Home Assistant looks."""
    published: set[str] = set()
    mqtt = Mqtt(Address.parse(f"mqtt://broker/{TOPIC}"), None, {SOURCE: "fan_section_00"})
    monkeypatch.setattr(mqtt, "_publish", lambda topic, *_, **__: published.add(topic))
    monkeypatch.setattr(mqtt, "_client", SimpleNamespace(is_connected=lambda: True))
    mqtt.state(SOURCE, {})
    mqtt.refresh()
    mqtt.send({"source": SOURCE})
    monkeypatch.setattr(mqtt, "_client", None)
    return published | {mqtt._status, *mqtt._fixed}


def test_every_topic_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table = PAGES["mqtt.md"].partition("## Topics")[2].partition("A state:")[0]
    told = {one.replace("SOURCE", SOURCE).replace("NODE", TOPIC.replace("/", "_")) for one in first_column(table)}
    assert told == topics(monkeypatch)


def test_the_keys_of_a_state_are_those_that_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class Broker:
        name = "broker"

        def state(self, _: str, content: dict[str, Any]) -> None:
            told.update(content)

        def refresh(self) -> None:
            pass

        send = close = lambda *_: None

    monkeypatch.setattr("asd.plant.outlets._mqtt", lambda *_: Broker())
    sources = {SOURCE: SourceOptions(folder=Path())}
    outlets = Outlets(Options(Path(), sources=sources, mqtt=f"mqtt://broker/{TOPIC}"), {SOURCE: "fan_section_00"})
    outlets.take({"type": "event_start", "source": SOURCE, "score": 1.0, "id": "x"})
    outlets.close()
    agree(keys("state of a source"), told)


def test_the_automation_that_is_shown_hears_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    (trigger,) = yaml.safe_load(block("home assistant"))["triggers"]
    assert trigger["topic"] in topics(monkeypatch)
    assert trigger["payload"] in event.schema()["properties"]["type"]["enum"]


def test_every_event_and_key_of_the_schema_is_told(generated: ModuleType) -> None:
    ((_, text),) = generated.events()
    schema = event.schema()
    types, _, told = text.partition("| key | |")
    for one in schema["allOf"]:
        (row,) = [
            row for row in types.splitlines() if row.startswith(f"| `{one['if']['properties']['type']['const']}`")
        ]
        assert all(f"`{key}`" in row for key in one["then"]["properties"])
    assert set(first_column(types)) == set(schema["properties"]["type"]["enum"])
    assert {"time", "limits.alarm", "explanation.nearest"} <= set(first_column(told))


# Pages that follow from the program


@pytest.fixture(scope="module")
def settings(generated: ModuleType) -> dict[str, str]:
    return dict(generated.configuration())


def test_every_class_that_a_configuration_may_name_has_its_keys(settings: dict[str, str]) -> None:
    for base in (Adapter, Augmentation, ClipDataModule, Encoder, Head, Scorer, Threshold):
        page = settings[f"configuration/{plugins.noun(base).replace(' ', '_')}.md"]
        for name, cls in plugins.known(base).items():
            if cls.__module__.partition(".")[0] not in ("asd", "asd_plugins"):
                continue  # of another test
            part = page if cls is base else page.partition(f"## {name}\n")[2].partition("\n## ")[0]
            common = page.partition("## All of them")[2].partition("\n## ")[0]
            told = {*first_column(part), *first_column(common)}
            parameters = [one for one in inspect.signature(cls).parameters.values() if one.kind != one.VAR_KEYWORD]
            assert {one.name for one in parameters if one.kind != one.VAR_POSITIONAL} <= told, name


def test_every_key_is_explained(settings: dict[str, str]) -> None:
    rows = [row for page in settings.values() for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) > 200
    assert not [row for row in rows if row.endswith("|  |")]
    assert {"`model.optimizer.lr`", "`warmup.epochs`", "`outputs.also`", "`trainer.max_epochs`", "`ckpt_path`"} <= {
        row.split(" ")[1] for row in rows
    }


def test_every_command_has_its_page(generated: ModuleType) -> None:
    pages = dict(generated.commands())
    every = {*TRAINER_COMMANDS, *SMALL_COMMANDS}
    assert set(pages) == {f"commands/{name}.md" for name in (*every, "index")}
    for name in every:
        assert f"usage: asd {name}" in pages[f"commands/{name}.md"]
    assert "usage: asd data synthesize" in pages["commands/data.md"]
    assert "$ asd score " in pages["commands/score.md"]


def test_every_table_and_config_is_shown(generated: ModuleType) -> None:
    pages = {**dict(generated.listings()), **dict(generated.packaged())}
    assert all(f"`asd {name}`" in pages["listings.md"] for name in LISTINGS)
    assert set(re.findall(r"^## (\S+)$", pages["configs.md"], re.M)) == set(configs.packaged())
