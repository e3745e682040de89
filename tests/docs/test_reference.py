"""The reference says what is: its tables have the keys that a run writes, its examples say what the program says."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from asd.cli import SMALL_COMMANDS, TRAINER_COMMANDS, main, parser_of
from asd.cli.ensemble import _options
from asd.cli.search_space import as_options, extremes, read_space
from asd.data.layouts.own_attributes import read_facts
from asd.data.pseudo_label_file import read_labels
from asd.encoders.weights_file import read
from asd.evaluation.back_ends import read_grid
from asd.evaluation.bootstrap import read_groups
from asd.evaluation.ground_truth import read_truth
from asd.inference import Detector
from asd.inference.export import export
from asd.run_folder import RunFolder
from tests.docs.pages import Block
from tests.docs.reference import EXAMPLES, PAGES, SHOWN, agree, block, keys
from tests.quick import QUICK

FIRST = ("data", "fit", "predict", "calibrate")
"""Whose results the examples of other commands need."""
pytestmark = pytest.mark.filterwarnings("ignore")


def reads(page: Block, command: str) -> str:
    """Examples of commands, files, and Python."""
    if page.page.startswith("reference/commands/") and page.language == "console":
        return "run"
    reader = next((reader for reader, _, text in SHOWN if reader and text == page.text), "")
    if reader or page.page.startswith("reference/"):
        return "run" if page.language == "python" else "parsed" if reader else ""
    return ""


@dataclass
class Place:
    """A folder in which the examples were run.

    Attributes:
        folder: Where.
        said: What each command line of a page printed, by page.
        codes: With which exit codes, by line.
    """

    folder: Path
    said: dict[str, list[str]] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def run(self, line: str) -> str:
        words = shlex.split(line)[1:]
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as said:
            self.codes[line] = main([*words, *(QUICK if words[0] in TRAINER_COMMANDS else ())])
        return said.getvalue()

    @property
    def results(self) -> Path:
        return self.folder / "runs/small/version_0"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("reference"))
    (place.folder / "facts.yaml").write_text(block("facts"), encoding="utf-8")
    for name in [*FIRST, *(name for name in EXAMPLES if name not in FIRST)]:
        place.said[name] = [place.run(line) for line, _ in examples(name)]
    return place


def examples(name: str) -> list[tuple[str, str]]:
    """Command lines of a page, and what they say."""
    parts = [part for one in re.findall(r"```console\n(.*?)```", EXAMPLES[name], re.S) for part in one.split("$ ")[1:]]
    return [(line, said) for line, _, said in (part.partition("\n") for part in parts)]


def shape(said: str) -> str:
    """Without what another processor or another day makes otherwise: numbers, marks, and decisions."""
    text = re.sub(
        r"\b[0-9a-f]{8}(?:-[0-9a-f-]{27})?\b|\d{4}-\d\d-\d\dT[\d:+]+|\d(?:[\d.,]*\d)?(?:e[-+]?\d+)?", "#", said
    )
    text = re.sub(r"\b(?:normal|uncertain|anomalous|true|false)\b", "*", text)
    return re.sub(r"#(?: #)+", "#", " ".join(re.sub("-{2,}", "", text).split()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_say_what_the_program_says(name: str, place: Place) -> None:
    for (line, shown), said in zip(examples(name), place.said[name], strict=True):
        wanted = ".*".join(re.escape(shape(part)) for part in shown.split("..."))
        assert re.fullmatch(wanted, shape(said), re.S), f"{line}\n{said}"
        assert place.codes[line] in (0, 1)


def test_examples_are_of_commands_that_there_are() -> None:
    assert set(EXAMPLES) <= {*TRAINER_COMMANDS, *SMALL_COMMANDS}


@pytest.mark.parametrize("name", ["results.json", "calibration.json", "environment.json"])
def test_the_keys_of_a_file_are_those_that_a_run_writes(name: str, place: Place) -> None:
    agree(keys(name), json.loads((place.results / name).read_text()))


def test_the_keys_of_a_store_are_those_that_a_run_writes(place: Place) -> None:
    with safe_open(place.results / "embeddings/query.safetensors", "pt") as file:
        header = file.metadata()
    agree(keys("store"), header)
    (facts,) = [row for row in PAGES["files.md"].splitlines() if row.startswith("| `clips` |")]
    assert set(re.findall(r"`(\w+)`", facts)) - {"clips"} == set(json.loads(header["clips"])[0])


def test_the_keys_of_a_checkpoint_are_those_that_a_run_writes(place: Place) -> None:
    content = dict(read(place.results / "checkpoints/last.ckpt"))
    agree(keys("checkpoint"), content)
    beginnings = [key.replace("N.", "0.") for key in keys("state")]
    names = [re.sub(r"\.\d+\.", ".0.", name) for name in content["state_dict"]]
    assert not [name for name in names if not name.startswith(tuple(beginnings))]
    unused = {one for one in beginnings if not any(name.startswith(one) for name in names)}
    assert unused <= {"adapter.", "scorer."}  # of which this run has none that hold numbers


def test_the_keys_of_feedback_are_those_that_are_written(place: Place) -> None:
    log = place.folder / "june.feedback.jsonl"
    mark = json.loads(log.read_text().splitlines()[0])["mark"]
    place.run(f"asd feedback june.ckpt --undo {mark}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    agree(keys("feedback.jsonl"), {key: value for line in lines for key, value in line.items()})


def test_the_keys_of_a_manifest_are_those_that_are_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # The graph itself, which takes long, is not of interest here.
    monkeypatch.setattr("asd.inference.export._exported", lambda *_: None)
    monkeypatch.setattr("asd.inference.export._write_onnx", lambda _, __, path: path.write_bytes(b"graph"))
    monkeypatch.setattr("asd.inference.export._difference", lambda *_: 0.0)
    export(Detector.load(place.results / "checkpoints/last.ckpt"), place.folder / "bundle")
    agree(keys("manifest.json"), json.loads((place.folder / "bundle/manifest.json").read_text()))
    assert {path.name for path in (place.folder / "bundle").iterdir()} == set(
        re.findall(
            r"`([\w.]+\.(?:onnx|json|md|py))`", PAGES["files.md"].partition("## A bundle")[2].partition("<!--")[0]
        )
    )


def test_the_keys_of_a_score_are_those_that_are_printed(place: Place) -> None:
    agree(keys("score"), json.loads(place.said["score"][1].splitlines()[0]))


def test_a_run_holds_what_the_table_says_and_no_more(place: Place) -> None:
    rows = re.findall(r"^\| `([\w./]+)` \| (.*?) \|", PAGES["files.md"].partition("## Score files")[0], re.M)
    told = {path.partition("/")[0] for path, _ in rows}
    assert told == {path.parts[1] for name, path in vars(RunFolder("run")).items() if name != "path"}
    assert {path.name for path in place.results.iterdir()} <= told
    commands = {name for _, by in rows for name in re.findall(r"`(\w+)`", by)}
    assert commands <= {*TRAINER_COMMANDS, *SMALL_COMMANDS}


def _attributes(path: Path) -> None:
    recordings = [path.parent / "normal" / name for name in ("monday.wav", "tuesday.wav")]
    facts, faults = read_facts(path, path.parent, recordings)
    assert not faults
    assert [facts[one].attributes for one in recordings] == ["speed_1200_load_half", "speed_1800_load_full"]


def _grid(path: Path) -> None:
    assert len(read_grid(path)) == 5


def _search(path: Path) -> None:
    space = read_space(str(path))
    assert [one.single() for one in space.values()] == [False] * 3
    assert as_options(list(extremes(space))[-1]) == [
        "--model.optimizer.lr=0.003", "--model.head=ArcFace", "--warmup.epochs=4",
    ]  # fmt: skip


def _ensemble(path: Path) -> None:
    assert _options(parser_of("ensemble").parse_args(["--config", str(path)]))["out"] == "runs/both"


def _facts(path: Path, place: Place) -> None:
    given = yaml.safe_load(path.read_text())
    meta = yaml.safe_load((place.folder / "submission/Example_Univ_task2_1/meta.yaml").read_text())
    assert given.items() <= {**meta["submission"], **meta["system"]}.items()


READERS: dict[str, Callable[..., object]] = {
    "attributes": _attributes,
    "labels": read_labels,
    "truth": read_truth,
    "groups": read_groups,
    "grid": _grid,
    "ensemble": _ensemble,
    "search": _search,
    "facts": _facts,
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_shown_of_a_file_is_read(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(block(name), encoding="utf-8")
    more = [request.getfixturevalue("place")] if name == "facts" else []
    READERS[name](path, *more)


def test_nothing_is_shown_of_a_file_that_is_not_read() -> None:
    assert {reader for reader, _, _ in SHOWN if reader} == {*READERS, "home assistant"}
    assert not [
        text for reader, kind, text in SHOWN if not reader and kind not in ("bash", "python", "text", "console")
    ]
    assert all(reader for reader, _, text in SHOWN if text in PAGES["inputs.md"])


@pytest.mark.parametrize("text", [text for _, kind, text in SHOWN if kind == "python"])
def test_python_that_is_shown_runs(text: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    exec(compile(text, "shown", "exec"), {})
