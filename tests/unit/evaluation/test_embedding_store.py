"""Embeddings on disk, and scoring them without audio."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from asd import plots
from asd.cli import main
from asd.configured import configured
from asd.described import described
from asd.errors import Notice, UserError
from asd.evaluation import back_ends, calibration, embedding_store
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.evaluation.metrics import official_score
from asd.scoring import BEAMScorer, KMeansScorer, LocalDensity, NeighboursScorer, Scorer
from asd.training import outputs
from asd.utils.fingerprint import fingerprint

ROOT = Path(__file__).parents[3]


def made(
    machines: tuple[str, ...] = ("fan", "valve"), width: int = 8, fingerprint: str = "a", labels: bool = True
) -> Store:
    """Clips in a cluster for each domain; anomalies lie aside."""
    generator = torch.Generator().manual_seed(len(machines) + width)
    reference, query, rows, asked = [], [], [], []
    for machine in machines:
        centre = 3 * torch.randn(2, width, generator=generator)
        for number in range(44):
            target = number >= 40
            reference.append(
                StoredClip(
                    f"t{number}.wav", machine, "00", "target" if target else "source", "normal", f"spd_{number % 2}", ""
                )
            )
            rows.append(centre[int(target)] + 0.5 * torch.randn(width, generator=generator))
        for number in range(32):
            target, anomaly = number % 2 == 1, number >= 16
            known = ("target" if target else "source", "anomaly" if anomaly else "normal") if labels else (None, None)
            query.append(StoredClip(f"q{number}.wav", machine, "00", *known, "", ""))
            asked.append(centre[int(target)] + (1.5 if anomaly else 0.5) * torch.randn(width, generator=generator))
    return Store(
        Stored(torch.stack(rows), tuple(reference), fingerprint, 10.0),
        Stored(torch.stack(asked), tuple(query), fingerprint, 10.0),
    )


def written(folder: Path, content: Store | None = None) -> Path:
    content = made() if content is None else content
    for name in embedding_store.SUBSETS:
        embedding_store.write(folder / "embeddings" / f"{name}.safetensors", getattr(content, name))
    return folder


@pytest.fixture
def rescored(here: Callable[..., Any]) -> Callable[..., Any]:
    """`asd rescore` without pictures, which take longer than all else."""
    return functools.partial(here, "rescore", "--no-pictures")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = made()
    for folder in (written(tmp_path, content), tmp_path / "embeddings"):
        found = embedding_store.read(folder)
        assert torch.equal(found.reference.embeddings, content.reference.embeddings)
        assert found.query.clips == content.query.clips
        assert found.query.seconds == 10.0
    assert sorted(path.name for path in (tmp_path / "embeddings").iterdir()) == [
        "query.safetensors",
        "reference.safetensors",
    ]


def test_the_table_is_told_before_the_pictures_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    monkeypatch.setattr(outputs, "pictures", lambda folder, rows: told.append(capsys.readouterr().out) or [])
    monkeypatch.setattr(plots, "draw_embeddings", lambda *asked: told.append("maps"))
    assert main(["rescore", str(written(tmp_path)), "--scorer", "KMeansScorer"]) == 0
    assert "official score" in told[0] and told[1:] == ["maps"]
    assert capsys.readouterr().out.strip() == str(tmp_path / "rescored")


def several() -> Store:
    content = made()
    parts = [
        dataclasses.replace(part, what="projected", others={"bands/rdp4": (part.embeddings.repeat(1, 3) ** 2, 3)})
        for part in (content.reference, content.query)
    ]
    return Store(*parts)


def test_several_vectors_of_each_clip_are_read_by_their_names(tmp_path: Path) -> None:
    content = several()
    found = embedding_store.read(written(tmp_path, content))
    assert found.query.names == ("projected", "bands/rdp4")
    bands = found.of("bands/rdp4")
    assert torch.equal(bands.query.embeddings, content.query.embeddings.repeat(1, 3) ** 2)
    assert (bands.query.bands, bands.query.what, found.query.bands) == (3, "bands/rdp4", 1)
    assert torch.equal(found.of("projected").reference.embeddings, content.reference.embeddings)
    with pytest.raises(UserError, match=r"no 'pooled'; it has projected, bands/rdp4; .* --outputs.also"):
        found.of("pooled")


def test_stores_from_before_there_were_names_are_read(tmp_path: Path) -> None:
    content = made()
    for name in embedding_store.SUBSETS:
        part = getattr(content, name)
        clips = json.dumps([dataclasses.asdict(clip) for clip in part.clips])
        header = {"asd_store": "1", "fingerprint": "a", "seconds": "10.0", "clips": clips}
        save_file({"embeddings": part.embeddings}, tmp_path / f"{name}.safetensors", header)
    found = embedding_store.read(tmp_path)
    assert (found.query.names, found.query.bands) == (("",), 1)
    assert [row.score for row in back_ends.score(found, KMeansScorer()).rows] == [
        row.score for row in back_ends.score(content, KMeansScorer()).rows
    ]
    with pytest.raises(UserError, match="it has embeddings without a name"):
        found.of("pooled")


def test_facts_that_a_header_cannot_hold_are_bytes_beside_the_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = written(tmp_path / "usual", several()) / "embeddings" / "query.safetensors"
    monkeypatch.setattr(embedding_store, "_LONGEST_FACTS", 100)
    folder = written(tmp_path / "long", several())
    found, path = embedding_store.read(folder), folder / "embeddings" / "query.safetensors"
    assert found.query.clips == several().query.clips
    assert torch.equal(found.query.embeddings, several().query.embeddings)
    headers = [int.from_bytes(one.read_bytes()[:8], "little") for one in (path, usual)]
    assert headers[0] < 1000 < headers[1]
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for forged in (torch.tensor([0xFF], dtype=torch.uint8), torch.ones(3), torch.ones(2, dtype=torch.bfloat16)):
        save_file({**tensors, "clips": forged}, path, header)
        with pytest.raises(UserError, match=r"query\.safetensors cannot be read"):
            embedding_store.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 5}, "24 columns are no 5 bands"),
        ({"bands": 0}, "24 columns are no 0 bands"),
        ({"clips": 3}, "3 embeddings for 64 clips"),
        ({"nan": 1}, r"1 clip \(q7\.wav\) are not finite"),
    ],
)
def test_other_vectors_that_cannot_be_scored_are_named(change: dict[str, int], message: str, tmp_path: Path) -> None:
    content = several()
    rows, bands = content.query.others["bands/rdp4"]
    rows = rows[: change.get("clips", len(rows))].clone()
    if "nan" in change:
        rows[7, 2] = torch.nan
    query = dataclasses.replace(content.query, others={"bands/rdp4": (rows, change.get("bands", bands))})
    with pytest.raises(UserError, match=message):
        embedding_store.read(written(tmp_path, Store(content.reference, query)))


def test_vectors_of_other_widths_are_of_other_checkpoints(tmp_path: Path) -> None:
    content = several()
    reference = dataclasses.replace(content.reference, others={})
    with pytest.raises(UserError, match="embedded by different checkpoints"):
        embedding_store.read(written(tmp_path, Store(reference, content.query)))


def test_a_store_tells_a_scorer_how_many_bands_there_are() -> None:
    bands = several().of("bands/rdp4")
    told, given = BEAMScorer(), BEAMScorer(bands=3)
    assert [row.score for row in back_ends.score(bands, told).rows] == [
        row.score for row in back_ends.score(bands, given).rows
    ]
    assert len(back_ends.fit(bands, BEAMScorer()).scorers[0].parts) == 3
    assert [row.score for row in back_ends.decided(bands, BEAMScorer())[0]] == [
        row.score for row in back_ends.decided(bands, given)[0]
    ]


def test_several_vectors_from_the_command_line(rescored, tmp_path: Path) -> None:
    folder = written(tmp_path, several())
    grid = tmp_path / "grid.yaml"
    grid.write_text("[KMeansScorer, BEAMScorer]")
    done = rescored(folder, "--grid", grid, "--what", "all")
    table = [line for line in done.stdout.splitlines() if ": " in line and "Scorer" in line]
    assert sorted(line.split("  ")[0].strip() for line in table) == [
        "bands/rdp4: BEAMScorer", "bands/rdp4: KMeansScorer", "projected: BEAMScorer", "projected: KMeansScorer",
    ]  # fmt: skip
    done = rescored(folder, "--scorer", "BEAMScorer", "--set", "bands=24", "--what", "all")
    assert "left out projected: BEAMScorer(bands=24): BEAMScorer: embeddings of 8 columns hold no 24" in done.stderr
    assert "bands/rdp4: BEAMScorer(bands=24)" in done.stdout
    rescored(folder, "--scorer", "BEAMScorer", "--what", "bands/rdp4")
    config = yaml.safe_load((tmp_path / "rescored" / "scorer.yaml").read_text())["model"]
    assert config["adapter"] == {"init_args": {"embedding": "bands/rdp4"}}
    rescored(folder, "--scorer", "KMeansScorer")
    assert "adapter" not in yaml.safe_load((tmp_path / "rescored" / "scorer.yaml").read_text())["model"]
    done = rescored(folder, "--scorer", "KMeansScorer", "--what", "bands/rdp", expect=2)
    assert "the store holds no 'bands/rdp'; did you mean bands/rdp4? it has projected, bands/rdp4" in done.stderr


def test_fingerprints_tell_weights_apart() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    assert fingerprint([first]) == fingerprint([first])
    assert fingerprint([first]) != fingerprint([second])


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*nothing"):
        embedding_store.read(tmp_path / "nothing")
    path = written(tmp_path) / "embeddings" / "query.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"query\.safetensors cannot be read"):
        embedding_store.read(tmp_path)
    save_file({"embeddings": torch.ones(2, 3)}, path)
    with pytest.raises(UserError, match="no file of embeddings of this version"):
        embedding_store.read(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"no file .*query\.safetensors"):
        embedding_store.read(tmp_path)


def test_contents_that_cannot_be_scored_are_named(tmp_path: Path) -> None:
    content, other = made(), made(fingerprint="b")
    written(tmp_path / "mixed", Store(content.reference, other.query))
    with pytest.raises(UserError, match="embedded by different checkpoints"):
        embedding_store.read(tmp_path / "mixed")
    written(tmp_path / "strange", Store(made(("fan",)).reference, content.query))
    with pytest.raises(UserError, match="no reference clips of valve_section_00"):
        embedding_store.read(tmp_path / "strange")
    content.query.embeddings[3, 2] = torch.nan
    written(tmp_path / "nan", content)
    with pytest.raises(UserError, match=r"1 clip \(q3\.wav\) are not finite"):
        embedding_store.read(tmp_path / "nan")


@pytest.mark.parametrize(
    "facts",
    [{"machine": "../../x"}, {"machine": ""}, {"section": "../0"}, {"name": 3}, {"domain": "both"}, {"condition": 1}],
    ids=str,
)
def test_facts_that_no_clip_has_are_refused(facts: dict[str, object], tmp_path: Path) -> None:
    content = made()
    forged = dataclasses.replace(content.query.clips[0], **facts)
    query = dataclasses.replace(content.query, clips=(forged, *content.query.clips[1:]))
    written(tmp_path, Store(content.reference, query))
    with pytest.raises(UserError, match=r"query\.safetensors cannot be read"):
        embedding_store.read(tmp_path)


def test_scores_do_not_depend_on_the_names_of_the_clips() -> None:
    content = made()
    renamed = [
        StoredClip(f"x{n}.wav", c.machine, c.section, None, None, "", "") for n, c in enumerate(content.query.clips)
    ]
    blind = Store(content.reference, Stored(content.query.embeddings, tuple(renamed), "a", 10.0))
    first, second = (back_ends.score(one, LocalDensity()) for one in (content, blind))
    assert [row.score for row in first.rows] == [row.score for row in second.rows]
    assert official_score(first.metrics) > 0.6
    assert second.metrics == {}


def test_scoring_with_thresholds_gives_the_same_scores() -> None:
    content = made()
    rows, sections = back_ends.decided(content, NeighboursScorer())
    assert [row.score for row in rows] == [row.score for row in back_ends.score(content, NeighboursScorer()).rows]
    assert all(
        row.decision == int(row.score > float(sections.thresholds[sections.index(f"{row.machine}_section_00")]))
        for row in rows
    )


def test_back_ends_by_name() -> None:
    spec = {
        "class_path": "LocalDensity",
        "init_args": {"scorer": {"class_path": "KMeansScorer", "init_args": {"k": 3}}, "k": 2},
    }
    scorer = configured(spec, Scorer)
    assert isinstance(scorer, LocalDensity)
    assert isinstance(scorer.scorer, KMeansScorer)
    assert (scorer.scorer.k, scorer.k) == (3, 2)
    assert back_ends.describe(spec) == "LocalDensity(KMeansScorer(k=3), k=2)"
    assert isinstance(configured("NeighboursScorer", Scorer), NeighboursScorer)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (3, "class_path and init_args, and nothing else; got 3"),
        ({"class_path": "NeighborsScorer"}, "Did you mean NeighboursScorer"),
        (
            {"class_path": "KMeansScorer", "init_args": {"centres": 3}},
            "has no argument centres; it has k, metric",
        ),
        ({"class_path": "KMeansScorer", "k": 3}, "class_path and init_args, and nothing else; got"),
        ({"class_path": "KMeansScorer", "init_args": {"k": "many"}}, "scorer.k is 'many'"),
        ({"class_path": "KMeansScorer", "init_args": {"k": 2.5}}, "scorer KMeansScorer: .*2.5"),
        ({"class_path": "KMeansScorer", "init_args": {"k": 0}}, "KMeansScorer: k is 0"),
    ],
)
def test_back_ends_that_are_none(spec: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        configured(spec, Scorer)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "grid").glob("*.yaml")), ids=lambda path: path.name)
def test_grids_that_are_shipped_can_be_built(path: Path) -> None:
    specs = back_ends.read_grid(path)
    assert len(specs) >= (50 if path.stem == "back_ends" else 2)
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == len(specs)


def test_a_grid_is_every_combination(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    entry = {
        "class_path": "NeighboursScorer",
        "vary": {"init_args.k": [1, 2], "init_args.metric": ["cosine", "euclidean"]},
    }
    path.write_text(yaml.safe_dump([entry, "KMeansScorer"]))
    assert [back_ends.describe(spec) for spec in back_ends.read_grid(path)] == [
        "NeighboursScorer(k=1, metric=cosine)",
        "NeighboursScorer(k=1, metric=euclidean)",
        "NeighboursScorer(k=2, metric=cosine)",
        "NeighboursScorer(k=2, metric=euclidean)",
        "KMeansScorer",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no grid file"),
        ("{", "not YAML"),
        ("a: 1", "no list of scorers"),
        ("[3]", "3 is no scorer"),
        ("[{class_path: KMeansScorer, vary: {class_path.k: [1]}}]", "class_path is no mapping"),
    ],
)
def test_grids_that_are_none(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        back_ends.read_grid(path)


def test_one_back_end_from_the_command_line(here, tmp_path: Path) -> None:
    done = here(
        "rescore", written(tmp_path), "--scorer", "LocalDensity", "--set", "scorer=KMeansScorer", "--set", "scorer.k=4"
    )
    assert "LocalDensity(KMeansScorer(k=4))" in done.stdout
    out = tmp_path / "rescored"
    assert (out / "pictures" / "centres.png").stat().st_size > 10_000
    assert len((out / "scores" / "decision_result_fan_section_00_test.csv").read_text().splitlines()) == 32
    assert "false alarms promised" in done.stdout
    config = yaml.safe_load((out / "scorer.yaml").read_text())
    whole = described(LocalDensity(KMeansScorer(4)))
    assert config["model"]["scorer"] == whole, "every argument, for a run's own would fill in those left out"


def test_a_fusion_of_back_ends_from_the_command_line(rescored, tmp_path: Path) -> None:
    scorers = "scorers=[KMeansScorer, {class_path: LocalDensity, init_args: {mode: varmin, k: 4}}]"
    done = rescored(written(tmp_path), "--scorer", "ZFusion", "--set", scorers)
    assert "ZFusion(KMeansScorer + LocalDensity(mode=varmin, k=4))" in done.stdout
    again = rescored(tmp_path, "--scorer", "BEAMScorer", "--set", "scorer=LocalDensity", "--set", "bands=4")
    assert "BEAMScorer(LocalDensity, bands=4)" in again.stdout
    refused = rescored(tmp_path, "--scorer", "BEAMScorer", "--set", "bands=7", expect=2)
    assert "hold no 7 bands of equal width" in refused.stderr


def test_thresholds_from_the_command_line(rescored, tmp_path: Path) -> None:
    folder = written(tmp_path)
    alarms = {}
    for rule in ("pooled", "highest"):
        rescored(folder, "--scorer", "NeighboursScorer", "--threshold", "quantile", "--target", rule)
        known = calibration.read(folder / "rescored")
        alarms[rule] = known.of("fan").threshold
        assert known.of("fan").expected("source").clips == 40
    assert alarms["highest"] >= alarms["pooled"]
    assert not (folder / "rescored" / "pictures").exists()
    done = rescored(folder, "--scorer", "NeighboursScorer", "--threshold", "conformal", "--abstain", "0.3")
    assert "uncertain" in done.stdout
    assert "quantile is 1.5" in rescored(folder, "--scorer", "KMeansScorer", "--quantile", "1.5", expect=2).stderr


def test_umap_is_used_where_it_is_installed(here, tmp_path: Path) -> None:
    if importlib.util.find_spec("umap") is None:
        done = here("rescore", written(tmp_path), "--scorer", "KMeansScorer", "--projection", "umap", expect=2)
        assert "pip install umap-learn" in done.stderr
    else:
        here("rescore", written(tmp_path), "--scorer", "KMeansScorer", "--projection", "umap")
        assert (tmp_path / "rescored" / "pictures" / "embeddings_condition.png").is_file()


def test_banks_that_teach_little_are_said_in_one_line(rescored, tmp_path: Path) -> None:
    content = made(("fan",))
    single = Store(Stored(content.reference.embeddings[:1], content.reference.clips[:1], "a", 10.0), content.query)
    with pytest.warns(Notice, match="fan_section_00: a single normal clip: any other clip is an alarm; give it more"):
        rescored(written(tmp_path / "single", single), "--scorer", "NeighboursScorer")
    content.reference.embeddings[:] = 1.0
    with pytest.warns(Notice, match="the embeddings of all 44 normal clips are the same"):
        rescored(written(tmp_path / "same", content), "--scorer", "MahalanobisScorer")
    with pytest.warns(Notice, match="k is 99 but the bank has 44 to choose from; uses 44"):
        rescored(written(tmp_path / "few", made()), "--scorer", "NeighboursScorer", "--set", "k=99")


def test_a_grid_from_the_command_line(here, tmp_path: Path, parse) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("[KMeansScorer, NeighboursScorer, {class_path: GaussianMixtureScorer, init_args: {components: 1}}]")
    done = here("rescore", written(tmp_path), "--grid", grid)
    lines = (tmp_path / "rescored" / "rescored.csv").read_text().splitlines()
    scores = [float(line.split(",")[-4]) for line in lines[1:]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert "looks better than it will prove" in done.stdout
    assert (tmp_path / "rescored" / "rescored.png").is_file()
    best = parse(
        ["fit", "--config", str(ROOT / "configs/quickstart.yaml"), "--config", str(tmp_path / "rescored/best.yaml")]
    )
    assert best.model.scorer.class_path.endswith(lines[1].split("(")[0].split(",")[0].strip('"'))
    alone = here("rescore", written(tmp_path), "--grid", grid, "--processes", 1, "--out", tmp_path / "alone")
    assert (tmp_path / "alone" / "rescored.csv").read_text().splitlines() == lines
    assert alone.stderr == done.stderr


def test_without_labels_nothing_is_measured(rescored, tmp_path: Path) -> None:
    folder = written(tmp_path, made(labels=False))
    assert "nothing is measured" in rescored(folder, "--scorer", "KMeansScorer").stdout
    grid = tmp_path / "grid.yaml"
    grid.write_text("[KMeansScorer]")
    assert "no test clip has a known label" in rescored(folder, "--grid", grid).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --scorer NAME or --grid FILE"),
        (["--scorer", "KMeansScorer", "--set", "k"], "give PLACE=VALUE"),
        (["--scorer", "KMeansScorer", "--set", "inner.k=3"], "inner is no scorer"),
        (["--grid", "none.yaml", "--set", "k=3"], "--set goes with --scorer"),
        (["--grid", "none.yaml"], "no grid file"),
        (["--scorer", "KMeansScorer", "--processes", "0"], "--processes is 0; give 1 or more"),
        (["--scorer", "Kmeans"], "Did you mean KMeansScorer"),
    ],
)
def test_arguments_that_do_not_fit(rescored, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = rescored(written(tmp_path), *arguments, expect=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_threshold_of_ones_own_from_the_command_line(rescored, tmp_path: Path) -> None:
    (tmp_path / "limits_of_my_own.py").write_text(
        "from asd.scoring import Threshold\n\n\nclass Highest(Threshold):\n"
        "    def __init__(self, factor: float = 1.0) -> None:\n"
        "        super().__init__()\n        self.factor = factor\n\n"
        "    def at(self, scores, quantile):\n        return self.factor * float(scores.max())\n"
    )
    folder, limits = written(tmp_path / "store"), {}
    for factor in (1, 2):
        text = f"{{class_path: limits_of_my_own.Highest, init_args: {{factor: {factor}}}}}"
        rescored(folder, "--plugin", "limits_of_my_own", "--scorer", "NeighboursScorer", "--threshold", text)
        limits[factor] = calibration.read(folder / "rescored").of("fan").threshold
    assert limits[2] == pytest.approx(2 * limits[1])
    rescored(folder, "--scorer", "NeighboursScorer", "--threshold", "Highest")
    assert calibration.read(folder / "rescored").of("fan").threshold == pytest.approx(limits[1])
    done = rescored(folder, "--scorer", "NeighboursScorer", "--threshold", "Highest", "--target", "pooled", expect=2)
    assert "Highest has no argument target; it has factor" in done.stderr
    done = rescored(folder, "--scorer", "NeighboursScorer", "--threshold", "Gama", expect=2)
    assert "unknown threshold 'Gama'. Did you mean GammaThreshold?" in done.stderr
    assert len(done.stderr.splitlines()) == 1
