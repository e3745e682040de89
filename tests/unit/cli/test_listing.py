"""What there is to choose from is listed whole, with one's own plug-ins and those that failed to load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd import plugins
from asd.cli import LISTINGS
from asd.cli.catalogue import score_sources
from asd.data import ClipDataModule
from asd.encoders import Encoder
from asd.heads import Head
from asd.scoring import Scorer
from asd.utils import configs

CONTRACTS = {"data-modules": ClipDataModule, "encoders": Encoder, "heads": Head, "scorers": Scorer}
OWN = '''
from asd.data import MIMII
from asd.heads import AdaCos
from asd.scoring import KMeansScorer


class OwnScorer(KMeansScorer):
    """Mine | of two lines,

    of which the first is shown.
    """

    def __init__(self, k: int = 3, of: tuple[int, ...] = (1, 2), how: str | None = None) -> None:
        super().__init__(k)


class OwnHead(AdaCos):
    pass


class OwnData(MIMII):
    """Mine."""

    def __init__(self, root: str, shelf: str, **common) -> None:
        super().__init__(root, **common)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of plug-ins, one of which cannot be imported."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_classes.py").write_text(OWN)
    (folder / "own_broken.py").write_text("import no_such_module_of_mine")
    monkeypatch.setenv(plugins.FOLDERS_VARIABLE, str(folder))
    plugins.load_all.cache_clear()
    yield
    plugins.load_all.cache_clear()


def test_each_kind_has_a_contract() -> None:
    assert set(LISTINGS) == {*CONTRACTS, "recipes"}


@pytest.mark.parametrize("command", CONTRACTS)
def test_every_class_is_listed(command: str, here) -> None:
    shown = json.loads(here(command, "--json").stdout)
    listed = [row[plugins.noun(CONTRACTS[command])] for row in shown[command.replace("-", "_")]]
    assert listed == list(plugins.known(CONTRACTS[command]))
    assert not shown["failed"]
    assert all(row["what"] != "-" for row in shown[command.replace("-", "_")] if command != "encoders")


@pytest.mark.parametrize("command", LISTINGS)
def test_the_table_says_the_same(command: str, here) -> None:
    rows = json.loads(here(command, "--json").stdout)[command.replace("-", "_")]
    lines = [line for line in here(command).stdout.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines] == [next(iter(rows[0])), lines[1].split("|")[1],
                                                              *(next(iter(row.values())) for row in rows)]  # fmt: skip


def test_below_the_table_of_encoders_stands_who_measured_their_scores(here) -> None:
    below = here("encoders").stdout.partition("Official scores are from:")[2]
    assert below.split("\n")[2:-1] == [f"- {line}." for line in score_sources()]
    assert "Official scores" not in here("heads").stdout


def test_own_plug_ins_are_listed_and_those_that_failed(own: None, here) -> None:
    scorers = here("scorers").stdout
    assert "failed to load own_broken: ModuleNotFoundError: No module named 'no_such_module_of_mine'" in scorers
    (row,) = [line for line in scorers.splitlines() if "OwnScorer" in line]
    assert [cell.strip() for cell in row.replace(r"\|", "/").split("|")[2:4]] == [
        "Mine / of two lines,",
        "k=3, of=[1,2], how=null",
    ]
    heads = json.loads(here("heads", "--json").stdout)
    assert {"head": "OwnHead", "what": "-", "arguments": "trainable=true, dynamic=true"} in heads["heads"]
    assert list(heads["failed"]) == ["own_broken"]
    assert "OwnHead" in here("heads").stdout


def test_of_a_data_module_its_own_arguments_are_shown(own: None, here) -> None:
    rows = {row["data module"]: row for row in json.loads(here("data-modules", "--json").stdout)["data_modules"]}
    assert rows["OwnData"]["arguments"] == "root, shelf"
    assert rows["Recordings"]["arguments"] == "root, machines=null, hop=null, holdout=0.2"


def test_recipes_are_the_configs_that_say_all(here) -> None:
    rows = {row["recipe"]: row for row in json.loads(here("recipes", "--json").stdout)["recipes"]}
    assert set(rows) == {name for name in configs.packaged() if name.startswith("recipe/")} | {
        "quickstart",
        "my_machine",
    }
    assert rows["recipe/beats_dasheng"] == {
        "recipe": "recipe/beats_dasheng", "what": "BEATs and Dasheng side by side, fine-tuned together",
        "encoder": "Fusion, BEATs, Dasheng", "weights": "beats_iter3_plus_as2m, dasheng_base",
        "licence": "Apache-2.0, MIT", "data": "ToyADMOS2",
    }  # fmt: skip
    assert rows["my_machine"]["weights"] == rows["my_machine"]["licence"] == "-"


def test_where_there_is_nothing_no_row_is_shown(monkeypatch: pytest.MonkeyPatch, here) -> None:
    monkeypatch.setattr(plugins, "known", lambda _: {})
    assert here("scorers").stdout.strip() == ""
