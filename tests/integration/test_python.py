"""The same work from Python: one call, or Lightning's own trainer by hand."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

import lightning.pytorch as pl
import pytest
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.mobilenet import MobileNet

import asd
from asd.testing import write_dataset
from asd.training import AnomalyDetector

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), seconds=1.0)


def test_one_call_trains_and_gives_a_detector(clips: Path, tmp_path: Path) -> None:
    data = asd.data.ToyADMOS2(str(clips), seconds=1.0, batch_size=4)
    run = asd.fit(
        "DualBranchCNN",
        data,
        epochs=1,
        head="SubclusterAdaCos",
        threshold="QuantileThreshold",
        folder=tmp_path,
        **QUIET,
    )
    assert run.folder.path.parent == tmp_path / "asd"
    assert run.folder.checkpoint.is_file()
    assert set(run.metrics) == {"fan", "valve"}
    wav = next((clips / "dev_data/raw/fan/test").glob("*.wav"))
    by_name = {row.name: row.score for row in run.scores if row.machine == "fan"}
    found = run.detector.score(str(wav), machine="fan")
    assert found.score == pytest.approx(by_name[wav.name], rel=1e-4)
    assert asd.Detector.load(str(run.folder)).score(wav, machine="fan").score == found.score
    evaluated = asd.evaluate(str(run.folder))
    assert evaluated.results.keys() == run.metrics.keys()
    assert evaluated.results["fan"].parts == pytest.approx(run.metrics["fan"].parts, nan_ok=True)


def test_a_trainer_by_hand_serves_the_encoder_s_rate(clips: Path, tmp_path: Path) -> None:
    data = asd.data.ToyADMOS2(clips, seconds=1.0, batch_size=4)
    trainer = pl.Trainer(max_epochs=1, default_root_dir=tmp_path, logger=False, enable_checkpointing=False, **QUIET)
    module = AnomalyDetector(MobileNet(), scorer=asd.scoring.KMeansScorer(k=2))
    trainer.fit(module, datamodule=data)
    assert data.sample_rate == 32000
    assert next(iter(data.train_dataloader())).waveform.shape[1] == 32000
    trainer.save_checkpoint(tmp_path / "by_hand.ckpt")
    detector = asd.Detector.load(tmp_path / "by_hand.ckpt")
    assert detector.cut.sample_rate == 32000
    wav = next((clips / "dev_data/raw/fan/test").glob("*.wav"))
    trainer.test(module, datamodule=data, verbose=False)
    expected = next(row.score for row in module.scores if row.name == wav.name and row.machine == "fan")
    assert detector.score(wav, machine="fan").score == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_described_is_said(clips: Path, tmp_path: Path) -> None:
    class Own(DualBranchCNN):
        """Of no module, so that no file can name it."""

    data = asd.data.ToyADMOS2(clips, seconds=1.0, batch_size=4)
    trainer = pl.Trainer(max_epochs=1, default_root_dir=tmp_path, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(AnomalyDetector(Own(seconds=1.0, width=4)), datamodule=data)
    with pytest.warns(UserWarning, match="keeps no configuration .*Own"):
        trainer.save_checkpoint(tmp_path / "by_hand.ckpt")
    with pytest.raises(asd.UserError, match="keeps no configuration"):
        asd.Detector.load(tmp_path / "by_hand.ckpt")


def test_unknown_names_are_told(clips: Path) -> None:
    with pytest.raises(asd.UserError, match="Did you mean DualBranchCNN"):
        asd.fit("DualBranchCN", asd.data.ToyADMOS2(clips))
    assert issubclass(asd.UserError, ValueError)


@pytest.mark.parametrize("name", asd.__all__)
def test_every_public_name_is_there_with_hints_and_words(name: str) -> None:
    assert name in dir(asd)
    one = getattr(asd, name)
    if name == "__version__":
        return
    assert inspect.getdoc(one)
    if inspect.isfunction(one):
        assert set(get_type_hints(one)) == {*inspect.signature(one).parameters, "return"}
        for parameter in inspect.signature(one).parameters:
            assert f"{parameter}:" in inspect.getdoc(one), f"{parameter} of {name} is not explained"
