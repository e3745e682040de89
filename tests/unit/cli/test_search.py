"""What is wrong with a search is one line, before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from asd.cli.search_space import as_options, extremes, read_space

FIT = ("fit", "--config", "quickstart")


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_and_ranges_become_options(tmp_path: Path) -> None:
    text = (
        "model.optimizer.lr: {low: 1e-4, high: 1, log: true}\n"
        "warmup.epochs: {low: 1, high: 5, step: 2}\n"
        "data.machines: [[fan], null]\n"
    )
    first, last = map(as_options, extremes(read_space(str(written(tmp_path, text)))))
    assert first == ["--model.optimizer.lr=0.0001", "--warmup.epochs=1", '--data.machines=["fan"]']
    assert last == ["--model.optimizer.lr=1.0", "--warmup.epochs=5", "--data.machines=null"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model.optimizer.lrr: [1.0]", "model.optimizer.lrr"),
        ("trainer.max_epochs: [one]", "trainer.max_epochs"),
        ("seed_everything: []", "seed_everything: The choices must contain one or more elements"),
        ("model.optimizer.lr: {low: 2, high: 1}", "model.optimizer.lr: low <= high must hold"),
        ("model.optimizer.lr: {low: 0, high: 1.0, log: true}", "low > 0 must hold for log=True"),
        ("model.optimizer.lr: {low: little, high: 1}", "'little' is no number"),
        ("model.optimizer.lr: {low: 1}", "give a list of values, or low and high"),
        ("model.optimizer.lr: 1", "give a list of values, or low and high"),
        ("[1, 2]", "names no option"),
        ("{}", "names no option"),
    ],
)
def test_what_cannot_be_drawn_is_named(text: str, told: str, here: Any, tmp_path: Path) -> None:
    said = here(*FIT, "--search", written(tmp_path, text), expect=2).stderr
    assert told in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--search", "nowhere"], "nowhere"),
        (["--search", "search/training", "--search.trials", "0"], "--search.trials 0: give how many, 1 or more"),
        (["--search", "search/training", "--search.trials=many"], "--search.trials many"),
        (["--search.trials", "3"], "needs --search FILE"),
        (["--search", "search/training", "--data.rooot", "x"], "rooot"),
        (["--search", "search/training", "--search.folder", "file"], "cannot write to file"),
    ],
)
def test_a_search_that_cannot_be_is_refused(arguments: list[str], told: str, here: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = here(*FIT, *arguments, expect=2).stderr
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_journal_of_something_else_is_left_alone(here: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/journal.log").write_text("no journal\n")
    text = "model.optimizer.lr: [0.001]"
    said = here(*FIT, "--search", written(tmp_path, text), "--search.folder", "mine", expect=2).stderr
    assert "mine/journal.log is no journal of a search" in said
    assert (tmp_path / "mine/journal.log").read_text() == "no journal\n"


def test_without_its_package_it_says_which(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = here(*FIT, "--search", "search/training", expect=2).stderr
    assert "pip install 'asd-zoo[search]'" in said
    assert len(said.splitlines()) == 1
