"""Ensembles of scores and of embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from asd.errors import UserError
from asd.evaluation import calibration, embedding_store, ensemble
from asd.evaluation.calibration import Calibration, Calibrations
from asd.evaluation.clip_scores import ClipScore
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.scoring.threshold import GammaThreshold, QuantileThreshold
from asd.training import outputs

ROOT = Path(__file__).parents[3]


def write_run(
    folder: Path, seed: int, scale: float = 1.0, clips: int = 20, training: int = 30, machine: str = "fan"
) -> Path:
    """Scores of normal clips around 0, of anomalies around 2, in units of `scale`."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(clips):
        domain, condition = ("source", "target")[number % 2], ("normal", "anomaly")[number // (clips // 2)]
        name = f"section_00_{domain}_test_{condition}_{number:04d}.wav"
        score = scale * (random.normal() + 2 * (condition == "anomaly"))
        rows.append(ClipScore(name, machine, "00", float(score), int(score > scale), domain, condition))
    normal = (scale * random.normal(size=training)).tolist()
    own = Calibration(scale, scale, tuple(normal[4:]), tuple(normal[:4]))
    outputs.write(folder, rows, Calibrations({f"{machine}_section_00": own}, 10.0), draw=False)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / name, seed, scale)
        for seed, (name, scale) in enumerate((("a", 1.0), ("b", 50.0), ("c", 0.1)))
    ]


def test_calibration_survives_the_file(runs: list[Path]) -> None:
    found = calibration.read(runs[0] / "scores")
    assert found == calibration.read(runs[0])
    own = found.of("fan")
    assert own is found.of("fan_section_00")
    expected = own.expected("target")
    assert expected.clips == 4
    assert expected.rate == sum(score > own.threshold for score in own.target) / 4


@pytest.mark.parametrize("fusion", ["mean", "rank", "maximum"])
def test_the_unit_of_a_system_does_not_matter(runs: list[Path], tmp_path: Path, fusion: str) -> None:
    fused, _ = ensemble.fuse_scores(runs, fusion, None, GammaThreshold())
    write_run(tmp_path / "b", 1, 1.0)
    again, _ = ensemble.fuse_scores(runs, fusion, None, GammaThreshold())
    assert [row.score for row in again] == pytest.approx([row.score for row in fused], rel=1e-6)
    values = np.array([row.score for row in fused])
    anomalous = np.array([row.condition == "anomaly" for row in fused])
    assert (values[anomalous][:, None] > values[~anomalous][None]).mean() > 0.9


def test_mean_and_weights_by_hand(runs: list[Path]) -> None:
    def standardised(folder: Path) -> dict[str, float]:
        rows, known = ensemble._read_run(folder)
        own = known.of("fan")
        normal = np.array(own.source + own.target)
        return {row.name: (row.score - normal.mean()) / normal.std() for row in rows}

    parts = [standardised(folder) for folder in runs]
    fused, known = ensemble.fuse_scores(runs, "mean", [1, 2, 1], QuantileThreshold(0.8))
    for row in fused:
        expected = parts[0][row.name] / 4 + parts[1][row.name] / 2 + parts[2][row.name] / 4
        assert row.score == pytest.approx(expected)
        assert row.decision == int(row.score > known.of("fan").threshold)
    assert known.of("fan").expected("source").clips == 26


def test_runs_that_do_not_belong_together_are_named(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two runs or more"):
        ensemble.fuse_scores(runs[:1], "mean", None, GammaThreshold())
    fewer = write_run(tmp_path / "fewer", 5, clips=18)
    with pytest.raises(UserError, match="scored other clips: they differ in"):
        ensemble.fuse_scores([runs[0], fewer], "mean", None, GammaThreshold())
    with pytest.raises(UserError, match="weights are"):
        ensemble.fuse_scores(runs, "mean", [1.0], GammaThreshold())
    with pytest.raises(UserError, match="maximum of scores takes no weights"):
        ensemble.fuse_scores(runs, "maximum", [1, 1, 1], GammaThreshold())
    other = write_run(tmp_path / "other", 6, training=12)
    with pytest.raises(UserError, match="different numbers of clips"):
        ensemble.fuse_scores([runs[0], other], "mean", None, GammaThreshold())
    (runs[1] / "calibration.json").write_text("{}")
    with pytest.raises(UserError, match=r"calibration\.json cannot be read"):
        ensemble.fuse_scores(runs, "mean", None, GammaThreshold())
    (runs[1] / "calibration.json").unlink()
    with pytest.raises(UserError, match=r"b has no calibration\.json"):
        ensemble.fuse_scores(runs, "mean", None, GammaThreshold())


def make_store(width: int, fingerprint: str, backwards: bool = False) -> Store:
    generator = torch.Generator().manual_seed(width)
    parts = []
    for name, count in (("r", 12), ("q", 6)):
        order = range(count - 1, -1, -1) if backwards else range(count)
        rows = torch.randn(count, width, generator=generator)
        clips = tuple(StoredClip(f"{name}{n}.wav", "fan", "00", "source", "normal", "", "") for n in order)
        parts.append(Stored(rows[list(order)], clips, fingerprint, 10.0))
    return Store(*parts)


def save(folder: Path, content: Store) -> Path:
    for name in embedding_store.SUBSETS:
        embedding_store.write(folder / "embeddings" / f"{name}.safetensors", getattr(content, name))
    return folder


def test_embeddings_are_joined_by_name(tmp_path: Path) -> None:
    first, second = make_store(4, "a"), make_store(6, "b", backwards=True)
    joined = ensemble.fuse_embeddings([save(tmp_path / "a", first), save(tmp_path / "b", second)], [3, 1])
    left, right = F.normalize(first.query.embeddings), F.normalize(second.query.embeddings.flip(0))
    similarity = joined.query.embeddings @ joined.query.embeddings.mT
    torch.testing.assert_close(similarity, 0.75 * left @ left.mT + 0.25 * right @ right.mT)
    assert joined.query.fingerprint not in ("a", "b")
    fewer = Store(second.reference, Stored(second.query.embeddings[:5], second.query.clips[:5], "b", 10.0))
    with pytest.raises(UserError, match="hold other query clips: 1 clip"):
        ensemble.fuse_embeddings([tmp_path / "a", save(tmp_path / "c", fewer)])


def test_from_the_command_line(here, runs: list[Path], tmp_path: Path) -> None:
    done = here("ensemble", *runs, "--fuse", "rank", "--out", tmp_path / "out")
    assert "official score" in done.stdout
    again = here("evaluate", tmp_path / "out")
    assert next(line for line in done.stdout.splitlines() if "official" in line) in again.stdout
    config = tmp_path / "ensemble.yaml"
    config.write_text(
        yaml.safe_dump({"runs": [str(run) for run in runs], "fuse": "mean", "out": str(tmp_path / "by_config")})
    )
    assert "mean of 3 runs" in here("ensemble", "--config", config).stdout
    assert (tmp_path / "by_config" / "results.json").is_file()
    config.write_text("fusion: mean")
    assert "unknown fusion" in here("ensemble", "--config", config, expect=2).stderr
    assert "two runs or more" in here("ensemble", runs[0], expect=2).stderr


def test_embeddings_from_the_command_line(here, tmp_path: Path) -> None:
    folders = [save(tmp_path / "a", make_store(4, "a")), save(tmp_path / "b", make_store(6, "b"))]
    here("ensemble", *folders, "--fuse", "embeddings", "--scorer", "NeighboursScorer", "--out", tmp_path / "out")
    assert embedding_store.read(tmp_path / "out").reference.embeddings.shape == (12, 10)
    assert (tmp_path / "out" / "scores" / "anomaly_score_fan_section_00_test.csv").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "ensemble").glob("*.yaml")), ids=lambda path: path.name)
def test_ensembles_that_are_shipped_are_understood(here, path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert len(content["runs"]) >= 2
    for run in content["runs"]:
        recipe = ROOT / "configs" / "recipe" / f"{Path(run).parent.name}.yaml"
        assert recipe.is_file(), "the run of a recipe that is shipped"
    assert "calibration.json" in here("ensemble", "--config", path, expect=2).stderr
