"""Pseudo-labels find clusters that are there, and become classes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asd.cli import main
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.data.pseudo_label_file import COLUMNS, read_labels, with_labels, write_labels
from asd.data.pseudo_labels import agreement, pseudo_labels
from asd.errors import Notice, UserError
from asd.evaluation import embedding_store
from asd.testing import write_dataset


def blobs(clusters: int, each: int = 15, width: int = 24, spread: float = 0.15) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((clusters, width))
    rows = [centre + spread * rng.standard_normal((each, width)) for centre in centres]
    return np.concatenate(rows).astype(np.float32), [str(n) for n in range(clusters) for _ in range(each)]


@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
@pytest.mark.parametrize("clusters", [2, 5])
def test_the_number_of_clusters_is_found_without_labels(method: str, clusters: int) -> None:
    points, truth = blobs(clusters)
    found = pseudo_labels(points, ["source"] * len(points), method)  # type: ignore[arg-type]
    assert agreement(found.labels, truth) == pytest.approx(1.0)
    assert len(found.sizes) == clusters
    assert found.silhouette["source"] > 0.5


def test_domains_are_divided_each_by_itself() -> None:
    points, _ = blobs(3)
    domains = ["source"] * 35 + ["target"] * 10
    found = pseudo_labels(points, domains, clusters=3)
    assert {label for label, domain in zip(found.labels, domains, strict=True) if domain == "target"} == {"target_0"}
    assert sum(size for label, size in found.sizes.items() if label.startswith("source")) == 35
    assert not found.silhouette, "the number was given"


@pytest.mark.parametrize(("part", "count"), [(0.008, 1), (0.1, 4), (0.999, 44)])
def test_a_number_of_clusters_may_be_a_part_of_the_clips(part: float, count: int) -> None:
    points, _ = blobs(3)
    assert len(pseudo_labels(points, [""] * 45, clusters=part).sizes) == count


def test_embeddings_that_are_all_the_same_are_one_cluster() -> None:
    with pytest.warns(Notice, match="single cluster"):
        assert set(pseudo_labels(np.ones((30, 4), np.float32), [""] * 30).labels) == {"unknown_0"}


def test_wrong_options_are_named() -> None:
    points, _ = blobs(2)
    with pytest.raises(UserError, match="method is 'dbscan'"):
        pseudo_labels(points, [""] * 30, "dbscan")  # type: ignore[arg-type]
    for wrong in (0, -1, 2.5, math.inf, math.nan):
        with pytest.raises(UserError, match=f"number of clusters is {wrong:g}; give 1 or more"):
            pseudo_labels(points, [""] * 30, clusters=wrong)


# -- files, and classes from them


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The attributes of valve are hidden."""
    return write_dataset(tmp_path / "data")


def label_rows(root: Path) -> list[tuple[str, str, str, str]]:
    data = ToyADMOS2(root, seconds=0.25)
    clips = [clip for clip in data.clips() if clip.machine == "valve" and clip.split == "train"]
    return [("valve", "00", clip.title, f"source_{n % 2}") for n, clip in enumerate(clips)]


def test_labels_become_classes(root: Path, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.csv", label_rows(root))
    data = ToyADMOS2(root, seconds=0.25, labels=path)
    data.setup("fit")
    assert {name for name in data.classes.names if name.startswith("valve/section")} == {
        "valve/section_00/source_0", "valve/section_00/source_1",
    }  # fmt: skip
    bare = ToyADMOS2(root, seconds=0.25)
    bare.setup("fit")
    for one in ("fan", "valve/clean", "valve/noise"):
        assert {n for n in data.classes.names if n.startswith(one)} == {
            n for n in bare.classes.names if n.startswith(one)
        }
    assert [c.path for c in data.query_clips] == [c.path for c in bare.query_clips]


def test_own_attributes_stay(root: Path, tmp_path: Path) -> None:
    clips = ToyADMOS2(root, seconds=0.25, machines=["fan"]).clips()
    fan = [clip for clip in clips if clip.split == "train" and clip.attributes]
    path = write_labels(tmp_path / "labels.csv", [("fan", "00", clip.title, "x") for clip in fan])
    with pytest.warns(Notice, match="0 labels are used"):
        assert with_labels(fan, path) == fan


def test_a_clip_without_its_label_is_named(root: Path, tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.csv", label_rows(root)[1:])
    with pytest.raises(UserError, match=r"has no label for .*valve"):
        ToyADMOS2(root, seconds=0.25, labels=path).setup("fit")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "first line must be"),
        ("a,b\n", "first line must be"),
        (",".join(COLUMNS) + "\nfan,00,a.wav\n", "line 2: expected 4 fields"),
        (",".join(COLUMNS) + "\nfan,00,a.wav,\n", "line 2: expected 4 fields"),
        (",".join(COLUMNS) + "\nfan,00,a.wav,x\nfan,00,a.wav,y\n", "listed twice"),
    ],
)
def test_broken_files_are_named(text: str, shown: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=shown):
        read_labels(path)
    with pytest.raises(UserError, match="cannot read the labels"):
        read_labels(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="cannot write"):
        write_labels(path / "inside.csv", [])


# -- the command


@pytest.fixture
def stored(root: Path, tmp_path: Path) -> Path:
    """A store of the training clips, the embeddings of valve in two clusters."""
    clips = [clip for clip in ToyADMOS2(root, seconds=0.25).clips() if clip.split == "train"]
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal(8) * 0.01 + (10 if n % 2 else -10) * np.eye(8)[n % 2] for n in range(len(clips))]
    facts = tuple(embedding_store.StoredClip.of(clip) for clip in clips)
    embeddings = torch.tensor(np.array(rows), dtype=torch.float32)
    # Of the other vector, all are the same.
    others = {"bands": (torch.ones(len(clips), 4), 2)}
    held = embedding_store.Stored(embeddings, facts, "x", 0.25, "pooled", 1, others)
    for name in embedding_store.SUBSETS:
        embedding_store.write(tmp_path / "run/embeddings" / f"{name}.safetensors", held)
    return tmp_path / "run"


def test_the_command_labels_hidden_machines_and_grades(stored: Path, here, tmp_path: Path) -> None:
    done = here("data", "pseudo-label", stored, "--clusters", "2", "--out", "labels.csv")
    assert {machine for machine, _, _ in read_labels(tmp_path / "labels.csv")} == {"valve"}
    assert "valve_section_00: " in done.stdout
    names = [name for _, _, name in read_labels(tmp_path / "labels.csv")]
    truth = "".join(f"valve,{name},{n % 2}\n" for n, name in enumerate(names))
    (tmp_path / "truth.csv").write_text("machine,file_name,label\n" + truth)
    done = here("data", "pseudo-label", stored, "--grade", "truth.csv")
    assert f"normalised mutual information 0.006 with the true labels of {len(names)} clips" in done.stdout
    done = here("data", "pseudo-label", stored, "--machines", "fan", "--method", "agglomerative")
    assert "fan_section_00: " in done.stdout


def test_the_command_clusters_the_vector_that_is_named(stored: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.data.pseudo_labels.LEAST_CLIPS", 4)
    assert "source_1" in here("data", "pseudo-label", stored, "--clusters", "2").stdout
    with pytest.warns(Notice, match="single cluster"):
        same = here("data", "pseudo-label", stored, "--clusters", "2", "--what", "bands")
    assert "source_1" not in same.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--machines", "vale"], "Did you mean valve?"),
        (["--grade", "absent.csv"], "cannot read the true labels"),
        (["--grade", "empty.csv"], "every line must be machine,file_name,label"),
        (["--grade", "other.csv"], "name no training clip of valve"),
        (["--clusters", "0"], "number of clusters is 0"),
        (["--what", "band"], "the store holds no 'band'; did you mean bands?"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], shown: str, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").write_text("")
    Path("other.csv").write_text("machine,file_name,label\nfan,a.wav,1\n")
    assert main(["data", "pseudo-label", str(stored), *arguments]) == 2
    assert shown in capsys.readouterr().err
    assert not Path("labels.csv").exists()
