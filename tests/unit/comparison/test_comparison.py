"""What `asd compare` tells of encoders, on which data."""

from __future__ import annotations

import contextlib
import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asd.cli import compare as command
from asd.comparison.embedding import read_facts
from tests.unit.comparison.conftest import CNN, NET, rows, stores


def test_it_says_first_what_it_will_do(place: Path) -> None:
    first, *_, last = (place / "said.txt").read_text().splitlines()
    assert first.startswith("comparing 2 frozen encoders on ")
    for said in ("30 normal and 32 test clips of 2 machines, 1 s each", "tokens, bands by 4 back ends", "0 embedded"):
        assert said in first
    assert last == "runs/compare/comparison.html"


def test_the_table_has_scores_and_costs_and_marks_random_weights(place: Path) -> None:
    lines = (place / "said.txt").read_text().splitlines()
    assert lines[1].split() == [
        "encoder",
        "vector",
        "official",
        "score",
        "pseudo-AUC",
        "clips/s",
        "parameters",
        "memory",
    ]
    shown = {line.split(":")[0]: line for line in lines[3:5]}
    assert f"{CNN} (random weights)" in shown["DualBranchCNN"]
    assert "MobileNet:weights=net.pt,blocks=2,rows=kept " in shown["MobileNet"], "no folders, and no random weights"
    assert "random" not in shown["MobileNet"]
    for line in shown.values():
        official, pseudo, rate = map(float, line.split()[-7:-4])
        assert 0 < official < 100
        assert 0 < pseudo < 100
        assert rate > 0
        assert 0.1 < float(line.split()[-2]) < 20, "gigabytes"
    best = [float(line.split()[-7]) for line in lines[3:5]]
    assert best == sorted(best, reverse=True)


def test_the_list_holds_every_vector_and_back_end(place: Path) -> None:
    found = rows(place)
    assert {(row["encoder"].partition(":")[0], row["vector"]) for row in found} == {
        ("DualBranchCNN", "tokens"), ("MobileNet", "tokens"), ("MobileNet", "bands"),
    }  # fmt: skip
    assert len(found) == 3 * 4, "the CNN has one band, so bands are its tokens"
    chosen = [row for row in found if row["chosen"]]
    assert [row["back end"].partition("(")[0] for row in chosen] == ["ZFusion", "ZFusion"]
    assert {row["encoder"].partition(":")[0]: row["random weights"] for row in found} == {
        "DualBranchCNN": "DualBranchCNN", "MobileNet": "",
    }  # fmt: skip
    sizes = {row["encoder"].partition(":")[0]: int(row["parameters"]) for row in found}
    assert sizes["DualBranchCNN"] > sizes["MobileNet"] > 0
    assert {row["device"] for row in found} <= {"cpu"} | {row["device"] for row in found if row["GPU bytes"]}


def test_scores_are_those_of_rescore(place: Path, here, tmp_path: Path) -> None:
    (store,) = stores(place, "MobileNet")
    options = ("--grid", "grid/compare", "--what", "all", "--choose", "pseudo", "--no-pictures")
    here("rescore", store.parent, *options, "--out", tmp_path / "there")
    with (tmp_path / "there/rescored.csv").open(newline="") as file:
        expected = {row["back end"]: row["official score"] for row in csv.DictReader(file)}
    own = [row for row in rows(place) if row["encoder"].startswith("MobileNet")]
    assert {f"{row['vector']}: {row['back end']}": row["official score"] for row in own} == expected
    assert len(expected) == 8


def test_the_vector_is_chosen_without_labels(place: Path) -> None:
    own = [row for row in rows(place) if row["encoder"].startswith("MobileNet")]
    tried = [row for row in own if row["pseudo-AUC"] != "-"]
    assert {row["back end"].partition("(")[0] for row in tried} == {"KMeansScorer", "NeighboursScorer", "LocalDensity"}
    means = {
        what: np.mean([float(row["pseudo-AUC"]) for row in tried if row["vector"] == what])
        for what in ("tokens", "bands")
    }
    (chosen,) = [row["vector"] for row in own if row["chosen"]]
    assert means[chosen] == max(means.values())
    (line,) = [
        one for one in (place / "said.txt").read_text().splitlines() if one.startswith("MobileNet") and "GB" in one
    ]
    assert line.split()[1] == chosen
    assert float(line.split()[3]) == pytest.approx(means[chosen], abs=0.02)


# -- other data, other encoders


def test_without_labels_the_criterion_ranks(again, copy: Path, synthetic: Path, tmp_path: Path) -> None:
    data = tmp_path / "unlabelled"
    shutil.copytree(synthetic, data)
    for folder in data.rglob("test"):
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f"section_00_{number:04d}.wav")
        (folder.parent / "attributes_00.csv").unlink(missing_ok=True)
    done = again(CNN, NET, data=data)
    lines = done.out.splitlines()
    assert "32 test clips, unlabelled, of 2 machines" in lines[0]
    assert "official" not in done.out
    assert "The order follows the pseudo-AUC: no test clip has a known label." in done.out
    values = [float(line.split()[-6]) for line in lines[3:5]]
    assert values == sorted(values, reverse=True)
    assert {row["official score"] for row in rows(copy)} == {"-"}


def test_own_recordings_have_no_officials(again, copy: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("pump/normal", 8), ("pump/test/normal", 3), ("pump/test/anomaly", 3)):
        (tmp_path / "plant" / name).mkdir(parents=True)
        for number in range(count):
            soundfile.write(tmp_path / "plant" / name / f"{number}.wav", 0.1 * rng.standard_normal(16000), 16000)
    done = again(CNN, data=tmp_path / "plant")
    assert "ranking score" in done.out.splitlines()[1]
    assert "official" not in done.out + (copy / "runs/compare/comparison.html").read_text()


def test_encoders_of_configs_and_each_layer(again, copy: Path) -> None:
    (copy / "mine.yaml").write_text(
        "class_path: BEATs\ninit_args:\n  layers: 2\n  shape: {depth: 2, width: 16, hidden: 32, heads: 2, "
        "patch_width: 8, position_kernel: 8, position_groups: 2}\n"
    )
    done = again("./mine.yaml", NET, "--what", "bands@each", "bands@-3", "bands")
    assert "mine.yaml (random weights: BEATs)" in done.out
    vectors = list(dict.fromkeys((row["encoder"].partition(":")[0], row["vector"]) for row in rows(copy)))
    assert sorted(vectors) == [("MobileNet", "bands@-1"), ("mine.yaml", "bands@-1"), ("mine.yaml", "bands@-2")]
    assert "mine.yaml has no bands@-3: it does not return these layers." in done.out


def test_data_of_a_config(again, copy: Path, tmp_path: Path) -> None:
    (copy / "data.yaml").write_text(
        "data: {class_path: Synthetic, init_args: {root: made, machines: [fan], train_source: 6, train_target: 2, "
        "test: 2, supplemental: 0}}\n"
    )
    args = SimpleNamespace(data=None, config=str(copy / "data.yaml"), set=["seconds=0.5"])
    with contextlib.chdir(tmp_path):
        data = command._data(args)  # type: ignore[arg-type]
    assert (len(data.reference_clips), len(data.query_clips), data.seconds) == (8, 8, 0.5)
    args.data = tmp_path / "elsewhere"
    assert str(command._data(args).root) == str(tmp_path / "elsewhere")  # type: ignore[arg-type, attr-defined]


def test_the_page_tells_all_of_it(place: Path) -> None:
    page = (place / "runs/compare/comparison.html").read_text()
    assert "<script" not in page
    assert "MobileNet:weights=net.pt, blocks=2, rows=kept" in page, "broken between arguments where it is narrow"
    for said in ("(random weights)", "pseudo-AUC", "clips/s", "KMeansScorer", "ZFusion", "Comparing 2 frozen encoders"):
        assert said in page
    for row in rows(place):
        assert row["official score"] in page


def test_stores_serve_other_commands(place: Path) -> None:
    for store in stores(place):
        facts = read_facts(store.parent)
        assert facts is not None
        assert facts.clips == 62
