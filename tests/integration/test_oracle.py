"""Published systems' scores give the numbers that their authors report, and the organisers' numbers their own mean."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path

import pytest

from asd.cli import main
from asd.evaluation.clip_scores import to_json
from asd.evaluation.evaluator import Evaluation, evaluate
from asd.evaluation.metrics import SectionMetrics, official_score

ORACLE = Path(__file__).parents[2] / "../shared/oracle"
TRUTH = ORACLE / "eval_data_list_2025.csv"


def expected(name: str) -> list[dict[str, str]]:
    path = ORACLE / name
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


OFFICIAL = [(row["config"], row["subset"], row["official_score"]) for row in expected("expected.csv")]
MACHINES = expected("expected_per_machine.csv")


def test_the_oracle_is_there() -> None:
    if not ORACLE.is_dir():
        pytest.skip(f"needs {ORACLE}")
    assert len(OFFICIAL) == 6
    assert len(MACHINES) == 45


@cache
def evaluated(config: str, subset: str) -> Evaluation:
    return evaluate(ORACLE / config / subset, TRUTH if subset == "eval" else None)


@pytest.mark.parametrize(("config", "subset", "official"), OFFICIAL)
def test_official_scores_to_four_decimals(config: str, subset: str, official: str) -> None:
    found = evaluated(config, subset)
    assert f"{100 * official_score(found.results):.4f}" == official
    assert found.warnings == []


@pytest.mark.parametrize(("config", "subset"), [one[:2] for one in OFFICIAL])
def test_every_machine_to_two_decimals(config: str, subset: str) -> None:
    rows = [row for row in MACHINES if (row["config"], row["subset"]) == (config, subset)]
    found = evaluated(config, subset).results
    assert {row["machine"] for row in rows} == set(found)
    for row in rows:
        for part, value in found[row["machine"]].parts.items():
            assert round(100 * value, 2) == pytest.approx(float(row[part]), abs=1e-9), (row["machine"], part)


def test_the_organisers_totals_follow_from_their_parts() -> None:
    readme = ORACLE / "README.md"
    if not readme.is_file():
        pytest.skip(f"needs {readme}")
    text = readme.read_text(encoding="utf-8").split("pure-arithmetic checks", 1)[1]
    machines = re.findall(r"([A-Z]\w+) ((?:0?\.\d+/){2}\.\d+)", text)
    names = [name for name, _ in machines]
    triples = re.findall(r"(\.\d+)/(\.\d+)/(\.\d+)", text)
    totals = [float(one) for one in re.findall(r"-> (0\.\d+)", text)]
    assert len(names) == 8
    assert len(triples) == 16
    for number, total in enumerate(totals):
        rows = triples[8 * number : 8 * number + 8]
        sections = {name: SectionMetrics(*map(float, row)) for name, row in zip(names, rows, strict=True)}
        # The parts are rounded to four or five digits.
        assert official_score(sections) == pytest.approx(total, abs=5e-7)
    assert len(totals) == 2


@pytest.fixture
def oracle() -> Path:
    if not ORACLE.is_dir():
        pytest.skip(f"needs {ORACLE}")
    return ORACLE


def test_the_command_prints_fractions_as_json(oracle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(oracle / "raw-k1/dev"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert round(printed["official_score"], 6) == 0.587259
    assert set(printed["machines"]["ToyCar"]) == {"auc_source", "auc_target", "pauc"}
    assert printed["machines"]["ToyCar"]["auc_source"] == pytest.approx(0.7576)


def test_the_command_joins_plain_names_through_the_truth_list(oracle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(oracle / "ldn-ratio-K16/eval"), "--truth", str(TRUTH)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ScrewFeeder +83\.06 +94\.06 +78\.58$", out, re.M)
    assert re.search(r"^official score +61\.04$", out, re.M)


def test_the_order_of_lines_means_nothing(oracle: Path, tmp_path: Path) -> None:
    """The organisers' evaluator matches by sorted position; a join does not care."""
    for path in (oracle / "raw-k1/eval").glob("*.csv"):
        (tmp_path / path.name).write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert to_json(evaluate(tmp_path, TRUTH).results) == to_json(evaluated("raw-k1", "eval").results)


def test_a_truth_list_leaves_labelled_names_as_they_are(oracle: Path, tmp_path: Path) -> None:
    for subset in ("dev", "eval"):
        for path in (oracle / "raw-k1" / subset).glob("*.csv"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    both = evaluate(tmp_path, TRUTH).results
    assert both == {**evaluated("raw-k1", "dev").results, **evaluated("raw-k1", "eval").results}


def test_two_systems_are_told_apart_on_the_same_clips(oracle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--truth", str(TRUTH), "--against", str(oracle / "raw-k1/eval"), "--json", "--bootstrap", "200"]
    assert main(["evaluate", str(oracle / "ldn-ratio-K16/eval"), *arguments]) == 0
    official = json.loads(capsys.readouterr().out)["against"]["official_score"]
    assert official["difference"] == pytest.approx((61.0402 - 55.8287) / 100, abs=1e-6)
    assert 0.02 < official["low"] < official["difference"] < official["high"] < 0.09
