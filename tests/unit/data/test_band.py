"""A data module limits the band of all clips alike: to what was asked for, or to what its training recordings share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from asd.data.modules.recordings import Recordings
from asd.errors import Notice, UserError
from asd.training import checkpoints

RATE = 44100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five recordings of 44.1 kHz in order, one of them to measure with."""
    for number in range(5):
        path = tmp_path / ("pump/test/normal" if number == 4 else "pump/normal") / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, RATE), RATE)
    return tmp_path


def made_narrow(path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, soxr.resample(samples, rate, 16000), 16000)


def data(root: Path, **options: Any) -> Recordings:
    module = Recordings(root, **{"seconds": 1.0, "batch_size": 8, "holdout": 0.0, **options})
    module.setup("fit")
    return module


def loudest_above(module: Recordings, low: float, train: bool = True) -> float:
    """Level of what clips hold above a frequency, relative to that below, in decibels."""
    loaders = [module.train_dataloader(), *module.val_dataloader()]
    waveform = torch.cat([batch.waveform for loader in loaders for batch in loader]).double().numpy()
    power = np.abs(np.fft.rfft(waveform * np.blackman(waveform.shape[1]))) ** 2
    frequency = np.fft.rfftfreq(waveform.shape[1], 1 / 16000)
    parts = power[:, frequency >= low].mean(1) / power[:, (frequency > 100) & (frequency < 6000)].mean(1)
    return float(10 * np.log10(parts.max()))


@pytest.mark.parametrize("cache", [{"cache_gb": 0.0}, {"cache_gb": 1.0}, {"disk_cache": "cache"}])
def test_training_reference_and_test_clips_are_limited(
    cache: dict[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    free, limited = data(root, **cache), data(root, band=8000.0, **cache)
    assert loudest_above(free, 7300) > -10
    assert loudest_above(limited, 7300) < -50


def test_what_all_share_is_the_band_of_a_single_narrow_recording(root: Path) -> None:
    made_narrow(root / "pump/normal/2.wav")
    with pytest.warns(Notice, match="have 8 to 22 kHz of bandwidth: what is above 7.2 kHz is left out of all"):
        module = data(root, band="shared")
    assert module.band_hz == 8000
    assert loudest_above(module, 7300) < -50
    assert data(root).band_hz is None


def test_where_all_are_wide_or_alike_nothing_changes(root: Path) -> None:
    made_narrow(root / "pump/test/normal/4.wav")  # which is for measuring, not for learning
    assert data(root, band="shared").band_hz is None
    for number in range(4):
        made_narrow(root / f"pump/normal/{number}.wav")
    assert data(root, band="shared").band_hz is None


def test_noise_that_is_trained_on_counts(root: Path) -> None:
    (root / "pump/noise").mkdir()
    soundfile.write(root / "pump/noise/a.wav", np.random.default_rng(9).normal(0, 0.1, 11025), 11025)
    with pytest.warns(Notice, match="have 5.5 to 22 kHz"):
        assert data(root, band="shared").band_hz == 5512.5


def test_how_the_machine_was_recorded_is_measured_in_training_clips(root: Path) -> None:
    ((section, usual),) = data(root).recorded().items()
    assert str(section) == "pump_section_00"
    assert (usual.recordings, usual.sample_rate) == (4, (RATE, RATE))


def test_a_limit_that_is_none_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.band must be null, shared, or 50 to"):
        Recordings(root, band=-1.0)


def test_a_checkpoint_keeps_what_was_found() -> None:
    config = {"model": {}, "data": {"class_path": "Recordings", "init_args": {"root": "a", "band": "shared"}}}
    for band in (8000.0, None):
        kept = checkpoints.with_band(config, band)
        assert kept == {**config, "data": {"class_path": "Recordings", "init_args": {"root": "a", "band": band}}}
    assert config["data"]["init_args"]["band"] == "shared"
    for other in (None, {"data": {"init_args": {"band": 4000.0}}}, {"data": {"init_args": None}}, {"data": {}}):
        assert checkpoints.with_band(other, 8000.0) == other
