"""The guides on runs, loggers, clusters and tables: commands are run, and what they tell of files and names is so."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asd.run_folder import RunFolder
from tests.docs.pages import Block, blocks
from tests.docs.reader import follow
from tests.forked import in_its_own_process

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs/guides"
RESULTS = (ROOT / "tests/benchmarks/RESULTS.md").read_text(encoding="utf-8")
NAMES = ("runs", "loggers", "several_gpus")
PAGES = {name: (GUIDES / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
BLOCKS = {name: list(blocks(GUIDES / f"{name}.md")) for name in NAMES}
YAML = [(name, one.text) for name, found in BLOCKS.items() for one in found if one.language == "yaml"]
STARTED = [
    shlex.split(line.replace("\\\n", " ").partition(" asd ")[2])
    for found in BLOCKS.values()
    for one in found
    for line in re.findall(r"^(?:srun|torchrun) (?:.*\\\n)*.*$", one.text, re.M)
]
(SCRIPT,) = [one for one in BLOCKS["several_gpus"] if one.text.startswith("#!")]
Parse = Callable[[list[str]], Any]


def reads(block: Block, command: str) -> str:
    """The page that is followed, configs, and what clusters start."""
    if block in BLOCKS["runs"]:
        return "run" if block.language != "text" else ""
    started = block == SCRIPT or command.startswith("torchrun ")
    return "parsed" if started or (block.language == "yaml" and (Path(block.page).stem, block.text) in YAML) else ""


@pytest.fixture(scope="module")
def followed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody did what the page on runs says."""
    desk = tmp_path_factory.mktemp("desk")
    in_its_own_process(follow, GUIDES / "runs.md", desk, synthetic, log=desk / "said.txt")
    return desk / "runs"


def test_runs_lie_where_the_page_says(followed: Path) -> None:
    found = {path.relative_to(followed).as_posix() for path in followed.glob("*/*") if path.is_dir()}
    assert {"pumps/first", "pumps/second", "pumps/neighbours", "pumps/both"} <= found


def test_every_file_of_a_run_is_told_of(followed: Path) -> None:
    """Those that are there, and those that other commands add."""
    run = followed / "pumps/first"
    table = PAGES["runs"].partition("## What is in a run folder")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    there = [path.relative_to(run) for path in run.rglob("*") if path.is_file() and "rescored" not in path.parts]
    assert {"results.json", "query.safetensors", "last.ckpt"} <= {path.name for path in there}
    assert not [path for path in there if not any(path.match(pattern) for pattern in told)]
    named = {path.name for path in vars(RunFolder("run")).values() if path.parent == Path("run")}
    assert named <= {Path(one).parts[0] for one in told}


def test_every_logged_figure_is_told_of(followed: Path) -> None:
    with (followed / "pumps/first/metrics.csv").open(newline="") as file:
        columns = set(csv.DictReader(file).fieldnames or ()) - {"epoch", "step"}
    told = set(re.findall(r"`([\w/]+)`", PAGES["loggers"]))
    figures = {column for column in columns if column.count("/") == 1}
    assert len(figures) >= 6
    assert figures <= told
    assert {column.rpartition("/")[2] for column in columns - figures} <= {one.rpartition("/")[2] for one in told}


@pytest.mark.parametrize(("page", "block"), YAML, ids=[f"{name} {number}" for number, (name, _) in enumerate(YAML)])
def test_configs_that_are_shown_are_understood(page: str, block: str, parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(block)
    given = ["fit", "--config", "quickstart", "--config", str(tmp_path / "shown.yaml")]
    assert len(parse(given).trainer.logger) == 2, page
    named = re.match(r"# ([\w/]+)\n", block)
    if named:
        assert parse([*given[:3], "--config", named[1]]).trainer.logger == parse(given).trainer.logger


@pytest.mark.parametrize("command", STARTED, ids=" ".join)
def test_what_clusters_start_is_understood(command: list[str], parse: Parse) -> None:
    assert parse(command).trainer.num_nodes == 2


def test_the_script_for_slurm_is_one_of_a_shell(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    assert len(STARTED) == 2
    subprocess.run(["bash", "-n"], input=SCRIPT.text, text=True, check=True)


def test_every_table_of_results_has_its_line() -> None:
    page = (GUIDES / "reproduce.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", RESULTS, re.M) == re.findall(r"^\| ([A-Z][^|]*?) \| [^|]*\|[^|]*\|", page, re.M)
    named = set(re.findall(r"tests\.benchmarks\.(\w+)", page))
    assert named
    assert not [name for name in named if not (ROOT / f"tests/benchmarks/{name}.py").is_file()]
