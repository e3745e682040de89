"""A detector that listens to 8 kHz of bandwidth judges copies of 16 kHz as it judges the recordings of 44.1 kHz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from asd_plugins.dual_branch import DualBranchCNN
from scipy.signal import resample_poly

import asd
from asd.inference import enroll
from asd.inference.result import Result
from asd.inference.stream import from_file
from asd.inference.windower import Windower

RATE = 44100
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def sound(seed: int, fault: bool = False) -> np.ndarray:
    """A second of a motor in noise that falls with frequency; a fault whistles."""
    rng, time = np.random.default_rng(seed), np.arange(RATE) / RATE
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=RATE)) * np.maximum(np.fft.rfftfreq(RATE, 1 / RATE), 200) ** -0.7)
    tones = sum(level * np.sin(2 * np.pi * hertz * time + rng.random()) for hertz, level in ((120, 0.5), (5000, 0.1)))
    whistle = 0.3 * np.sin(2 * np.pi * 3100 * time) if fault else 0
    return 0.05 * (tones + 50 * noise + whistle)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings to learn from, others to judge, and copies of these as another recorder, and soxr, make them."""
    root = tmp_path_factory.mktemp("band")
    (root / "own/pump/normal").mkdir(parents=True)
    for number in range(16):
        soundfile.write(root / f"own/pump/normal/{number:02}.wav", sound(number), RATE)
    for name in ("wide", "poly", "soxr"):
        (root / name).mkdir()
    for number in range(16):
        wide = sound(100 + number, fault=number % 2 == 1)
        soundfile.write(root / f"wide/{number:02}.wav", wide, RATE)
        soundfile.write(root / f"poly/{number:02}.wav", resample_poly(wide, 160, 441), 16000)
        soundfile.write(root / f"soxr/{number:02}.wav", soxr.resample(wide, RATE, 16000), 16000)
    return root


def trained(root: Path, folder: Path, **options: Any) -> asd.Detector:
    data = asd.data.Recordings(
        root / "own", seconds=1.0, batch_size=8, clean_class="none", noise_class="none", **options
    )
    torch.manual_seed(1)
    encoder = DualBranchCNN(seconds=1.0, width=4, branch_dim=8, spectrum_points=500)
    return asd.fit(encoder, data, epochs=3, folder=folder, **QUIET).detector


def judged(detector: asd.Detector, folder: Path) -> list[Result]:
    return list(detector.score_files([folder]))


def test_copies_of_half_the_bandwidth_get_the_same_scores_and_decisions(root: Path, tmp_path: Path) -> None:
    limited = trained(root, tmp_path, band=8000.0)
    wide = judged(limited, root / "wide")
    spread = float(np.std([one.score for one in wide]))
    for copies in ("poly", "soxr"):
        narrow = judged(limited, root / copies)
        apart = max(abs(a.score - b.score) for a, b in zip(wide, narrow, strict=True))
        assert apart < 0.15 * spread
        assert [one.decision for one in narrow] == [one.decision for one in wide]
        assert all(one.remarks == () for one in (*wide, *narrow))
    free = trained(root, tmp_path)
    apart = max(
        abs(a.score - b.score) for a, b in zip(judged(free, root / "wide"), judged(free, root / "poly"), strict=True)
    )
    assert apart > 1.0 * float(np.std([one.score for one in judged(free, root / "wide")])), "what the limit is for"


def test_the_limit_is_found_kept_and_goes_with_the_detector(root: Path, tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / "own/pump/normal").mkdir(parents=True, exist_ok=True)
        source = root / (f"soxr/{number:02}.wav" if number in (4, 5, 6) else f"own/pump/normal/{number:02}.wav")
        (tmp_path / f"own/pump/normal/{number:02}.wav").write_bytes(source.read_bytes())
    detector = trained(tmp_path, tmp_path / "runs", band="shared")
    assert detector.cut.band == 8000
    checkpoint = tmp_path / "runs/asd/version_0/checkpoints/last.ckpt"
    kept = torch.load(checkpoint, weights_only=True)["asd"]["config"]["data"]["init_args"]["band"]
    assert kept == 8000
    grown = asd.Detector.load(enroll(checkpoint, "fan", root / "own/pump/normal", tmp_path / "grown.ckpt").path)
    for copy in ("wide/00.wav", "poly/00.wav"):
        assert grown.score(root / copy, machine="fan").score == pytest.approx(
            grown.score(root / "soxr/00.wav", machine="fan").score, abs=0.03
        )
    windower = Windower(detector.cut, RATE)
    windows = [one for block in from_file(root / "wide/00.wav", 0.0) for one in windower.push(block)]
    windows += windower.finish()
    (score,) = detector.score_windows([one for _, one in windows], 0)
    assert score == pytest.approx(detector.score(root / "wide/00.wav").score, rel=0.02)
    samples, rate = soundfile.read(root / "wide/00.wav", dtype="float32")
    assert detector.score(samples, rate).score == pytest.approx(detector.score(root / "wide/00.wav").score, rel=1e-3)
