"""Bands from the encoder to the score: one pass over the audio, and several vectors to choose from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from asd.evaluation import embedding_store
from asd.inference import Detector
from asd.inference.export import export
from asd.scoring import BEAMScorer
from tests.quick import QUICK

ALSO = "[pooled, bands, bands/rdp4, 'tokens/max@-2']"


@pytest.fixture(scope="module")
def run(asd, synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder where it was started, and that of a run that scores bands and trains on another vector."""
    from dataclasses import asdict

    from asd_plugins.beats import BEATs

    cwd = tmp_path_factory.mktemp("bands")
    encoder = {"class_path": "BEATs", "init_args": {"layers": 2, "shape": asdict(BEATs.tiny().shape)}}
    adapter = {"pooling": "attentive_statistics", "embedding_dim": 6, "embedding": "bands/rdp4"}
    scorer = {"scorer": {"class_path": "LocalDensity", "init_args": {"mode": "varmin", "k": 4}}}
    (cwd / "run.yaml").write_text(
        yaml.safe_dump(
            {
                "model": {
                    "encoder": encoder,
                    "adapter": {"class_path": "Adapter", "init_args": adapter},
                    "scorer": {"class_path": "BEAMScorer", "init_args": scorer},
                }
            }
        )
    )
    data = ("--data", "ToyADMOS2", "--data.root", synthetic, "--data.seconds=1", "--data.batch_size=8")
    done = asd(
        "fit", "--config", "run.yaml", *data, "--trainer.max_epochs=1", *QUICK, cwd=cwd
    )  # fmt: skip
    return cwd, cwd / done.stdout.strip().splitlines()[-1]


def test_a_checkpoint_of_bands_scores_alone_and_as_a_graph(run: tuple[Path, Path], tmp_path: Path) -> None:
    detector = Detector.load(run[1])
    parts = detector.model.sections.scorers
    assert all(isinstance(one, BEAMScorer) and len(one.parts) == 8 for one in parts)
    written = export(detector, tmp_path / "bundle", machine=detector.machines[0])
    assert written.difference < 1e-4


def test_several_vectors_of_one_pass_are_compared(run: tuple[Path, Path], here) -> None:
    cwd, folder = run
    checkpoint = folder / "checkpoints/last.ckpt"
    here("predict", "--ckpt_path", checkpoint, "--outputs.also", ALSO, cwd=cwd)
    store = embedding_store.read(folder)
    assert store.query.names == ("bands/rdp4", "bands", "pooled", "tokens/max@-2")
    assert {name: one[1] for name, one in store.query.others.items()} == {"bands": 8, "pooled": 1, "tokens/max@-2": 1}
    done = here("rescore", "--no-pictures", folder, "--scorer", "BEAMScorer", "--what", "all", cwd=cwd)
    assert all(f"{name}: BEAMScorer" in done.stdout for name in store.query.names)
    done = here(
        "rescore", "--no-pictures", folder, "--scorer", "BEAMScorer", "--what", "bands", "--out", "other", cwd=cwd
    )
    # Trained no further, the detector scores what was chosen as the store did.
    here(
        "test", "--ckpt_path", checkpoint, "--config", cwd / "other/scorer.yaml",
        "--outputs.folder", "again", "--outputs.pictures=false", cwd=cwd,
    )  # fmt: skip
    results = [json.loads((cwd / name / "results.json").read_text()) for name in ("other", "again")]
    assert results[0]["official_score"] == pytest.approx(results[1]["official_score"], abs=1e-3)
    refused = here("rescore", "--no-pictures", folder, "--scorer", "BEAMScorer", "--what", "band", cwd=cwd, expect=2)
    assert "the store holds no 'band'; did you mean bands?" in refused.stderr


def test_vectors_that_there_are_not_are_told_before_any_work(run: tuple[Path, Path], here) -> None:
    cwd, folder = run
    for name, message in (("bans", "'bans' is no embedding"), ("bands@-3", "asks for layer -3")):
        done = here(
            "predict", "--ckpt_path", folder / "checkpoints/last.ckpt", "--outputs.also", f"[{name}]", cwd=cwd, expect=2
        )  # fmt: skip
        assert message in done.stderr


def test_another_vector_than_the_fitted_one_is_fitted_anew(run: tuple[Path, Path], here) -> None:
    """Of the same width and number of bands, so that nothing else would tell them apart."""
    cwd, folder = run
    scores = {}
    for name in ("bands/rdp4", "bands"):
        here(
            "test", "--ckpt_path", folder / "checkpoints/last.ckpt", "--model.adapter.embedding", name,
            "--outputs.folder", name.replace("/", "_"), "--outputs.pictures=false",
            cwd=cwd,
        )  # fmt: skip
        (path,) = (cwd / name.replace("/", "_") / "scores").glob("anomaly_score_fan*.csv")
        scores[name] = [float(line.split(",")[1]) for line in path.read_text().splitlines()]
    own = folder / "scores/anomaly_score_fan_section_00_test.csv"
    fitted = [float(line.split(",")[1]) for line in own.read_text().splitlines()]
    np.testing.assert_allclose(scores["bands/rdp4"], fitted, rtol=1e-3, atol=1e-6)
    assert not np.allclose(scores["bands"], fitted, rtol=1e-3, atol=1e-6)
