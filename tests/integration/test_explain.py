"""Explanations point where a fault is, and name the normal clips that a sound is like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from asd import plots
from asd.encoders import Encoder
from asd.encoders.frontends import LogMel
from asd.errors import UserError
from asd.inference import Detector
from asd.scoring import KMeansScorer
from asd.scoring.reference_bank import Bank
from asd.scoring.spectrum import mean_level
from asd.training.module import AnomalyDetector

RATE = 16000
SECONDS = 8.0


class MeanLevels(Encoder):
    """The log-mel frames themselves: what it hears is known."""

    sample_rate, feature_dim = RATE, 64

    def __init__(self) -> None:
        super().__init__()
        self.front_end = LogMel(top_db=200.0)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        levels: Tensor = self.front_end(waveform)
        return levels

    def encode(self, spectrogram: Tensor) -> Tensor:
        return spectrogram[:, None]

    def stages(self) -> list[torch.nn.Module]:
        return [self.front_end]


def healthy(seed: int) -> np.ndarray:
    """A hum of 100 Hz in noise that falls with frequency."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    noise = np.cumsum(rng.standard_normal(len(time)))
    noise = noise - np.convolve(noise, np.ones(400) / 400, "same")
    return (0.1 * np.sin(2 * np.pi * 100 * time) + 0.02 * noise / noise.std()).astype(np.float32)


def tone(samples: np.ndarray, hertz: float, begin: float, end: float, level: float = 0.02) -> np.ndarray:
    time = np.arange(len(samples)) / RATE
    sounding = (time >= begin) & (time < end)
    return samples + np.float32(level) * sounding * np.sin(2 * np.pi * hertz * time).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Fitted on 12 clips of a healthy machine, of which every second has a name of its own kind."""
    model = AnomalyDetector(MeanLevels(), scorer=KMeansScorer(k=1, metric="euclidean")).eval()
    model.build(["a", "b"], ["pump_section_00"])
    waveforms = torch.stack([torch.from_numpy(healthy(seed)) for seed in range(12)])
    rows = torch.arange(12)
    facts = tuple((f"clip_{row}.wav", f"load_{row % 2}") for row in range(12))
    with torch.no_grad():
        bank = Bank(model.embed(waveforms), rows * 0, rows < 0, rows, rows, facts, mean_level(waveforms, RATE))
    model.sections.fit(bank)
    return Detector(model, {"data": {"init_args": {"seconds": SECONDS}}, "trainer": {"precision": "32"}})


@pytest.mark.parametrize("hertz", [700.0, 1800.0, 3100.0, 6000.0])
@pytest.mark.parametrize("begin", [1.2, 5.4])
def test_it_points_at_the_band_and_time_of_a_fault(detector: Detector, hertz: float, begin: float) -> None:
    found = detector.explain(tone(healthy(100), hertz, begin, begin + 1.0), RATE)
    assert found.band[0] <= hertz <= found.band[1]
    assert found.span[0] < begin + 1.0
    assert found.span[1] > begin
    band = int(found.by_band.argmax())
    assert found.by_band[band] > 3 * np.delete(found.by_band, [band - 1, band, band + 1]).max(), "and nowhere else"
    assert found.contributions.argmax() // found.contributions.shape[1] == band
    assert found.contributions.max() == pytest.approx(1)


def test_a_missing_sound_is_found_as_well(detector: Detector) -> None:
    samples = healthy(100)
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hertz > 3000) & (hertz < 3400)] *= 0.03
    found = detector.explain(np.fft.irfft(spectrum, len(samples)), RATE)
    assert found.band[0] < 3400
    assert found.band[1] > 3000


def test_the_most_anomalous_window_of_a_long_recording_is_explained(detector: Detector) -> None:
    samples = np.concatenate([healthy(100), tone(healthy(101), 1800, 2, 3), healthy(102)])
    found = detector.explain(samples, RATE)
    assert found.start == SECONDS
    assert found.span[0] < SECONDS + 3
    assert found.span[1] > SECONDS + 2
    assert found.score == pytest.approx(max(one.score for one in detector.score(samples, RATE).windows))


def test_a_short_recording_is_explained_within_its_length(detector: Detector) -> None:
    samples = tone(healthy(100), 1800, 1.0, 1.5)[: 2 * RATE]
    found = detector.explain(samples, RATE)
    assert found.span_edges[-1] == pytest.approx(2.0)
    assert found.span[0] < 1.5
    assert found.span[1] > 1.0


def test_without_the_usual_spectrum_parts_are_made_quieter(detector: Detector) -> None:
    clips = detector.model.sections.normal_clips(0)
    kept = clips.spectrum
    try:
        clips.spectrum = torch.empty(0)
        found = detector.explain(tone(healthy(100), 1800, 1.2, 2.2, level=0.2), RATE)
    finally:
        clips.spectrum = kept
    assert found.by_band.shape == (16,)
    assert np.isfinite(found.by_span).all()


def test_a_normal_clip_is_like_itself(detector: Detector) -> None:
    found = detector.explain(healthy(3), RATE)
    assert found.nearest[0].name == "clip_3.wav"
    assert found.nearest[0].attributes == "load_1"
    assert found.nearest[0].similarity == pytest.approx(1, abs=2e-3)
    assert sum(found.resembles.values()) == pytest.approx(1)
    assert set(found.resembles) == {"load_0", "load_1"}


def test_the_usual_spectrum_stands_beside_that_of_the_sound(detector: Detector) -> None:
    usual = detector.explain(healthy(3), RATE)
    found = detector.explain(tone(healthy(100), 1800, 0, SECONDS, 0.2), RATE)
    assert usual.spectrum.shape == usual.usual.shape == usual.level.shape[:1]
    assert np.abs(usual.spectrum - usual.usual).max() < 3, "normal sound is as usual, in dB"
    band = int(np.searchsorted(found.level_edges, 1800)) - 1
    excess = found.spectrum - found.usual
    assert excess.argmax() == band
    assert excess[band] > 20
    assert np.median(np.abs(excess)) < 3, "elsewhere it is as usual"
    assert max(found.spectrum.max(), found.usual.max()) == 0, "below the loudest of both"


def test_without_a_usual_spectrum_the_own_is_shown(detector: Detector, tmp_path: Path, drawn: list) -> None:
    clips = detector.model.sections.normal_clips(0)
    kept, clips.spectrum = clips.spectrum, clips.spectrum[:0]
    try:
        found = detector.explain(healthy(3), RATE)
    finally:
        clips.spectrum = kept
    assert len(found.usual) == 0
    assert found.spectrum.max() == 0
    plots.explanation(found, tmp_path / "one.png")
    assert [line.get_label() for line in drawn[-1].axes[1].lines] == ["this sound"]


def test_the_picture_shows_spectrogram_spectra_and_both_bars(detector: Detector, tmp_path: Path, drawn: list) -> None:
    found = detector.explain(tone(healthy(100), 1800, 1.2, 2.2), RATE)
    path = plots.explanation(found, tmp_path / "one.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    sound, levels, bands, spans = drawn[-1].axes
    assert [line.get_label() for line in levels.lines] == ["usual", "this sound"]
    assert [line.get_xdata().tolist() for line in levels.lines] == [found.usual.tolist(), found.spectrum.tolist()]
    assert "pump: score" in drawn[-1].get_suptitle(), "as people call it"
    heard, raising = sound.collections
    assert heard.get_array().shape == found.level.shape
    assert raising.get_array().shape == (*found.contributions.shape, 4)
    assert len(bands.patches) == len(found.by_band)
    assert [patch.get_height() for patch in spans.patches] == pytest.approx(found.by_span.tolist())


def test_a_trained_detector_explains_from_its_checkpoint_alone(
    trained: Path, synthetic: Path, here, tmp_path: Path
) -> None:
    folder = synthetic / "dev_data/raw/fan"
    clip = min((folder / "train").glob("*.wav"))
    test = min((folder / "test").glob("*anomaly*.wav"))
    done = here("explain", clip, test, "--checkpoint", trained, "--machine", "fan", "--out", "why")
    assert f"like {clip.name} (1.000" in done.stdout
    assert "among the nearest: spd_" in done.stdout
    numbers = json.loads((tmp_path / "why" / f"{test.stem}.json").read_text())
    assert len(numbers["by_band"]) == len(numbers["band_edges_hz"]) - 1
    assert len(numbers["by_span"]) == len(numbers["span_edges_s"]) - 1
    assert len(numbers["nearest"]) == 3
    assert (tmp_path / "why" / f"{test.stem}.png").read_bytes().startswith(b"\x89PNG")
    clips = Detector.load(trained).model.sections.normal_clips(1)
    assert len(clips.names_and_attributes) == len(clips.embeddings) == len(clips.scores) == 15
    levels = [mean_level(torch.from_numpy(_samples(path))[None], RATE)[0] for path in (folder / "train").glob("*.wav")]
    assert torch.allclose(clips.spectrum, torch.stack(levels).mean(0), atol=1e-3), "kept over the epochs"


def _samples(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0][:RATE]


def test_checkpoints_from_before_explain_as_well(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    kept = {
        key: value for key, value in content["state_dict"].items()
        if not key.endswith((".spectrum", ".facts")) and ".embeddings" not in key
    }  # fmt: skip
    assert len(kept) < len(content["state_dict"])
    torch.save({**content, "state_dict": kept}, tmp_path / "old.ckpt")
    clip = min((synthetic / "dev_data/raw/fan/test").glob("*.wav"))
    found = Detector.load(tmp_path / "old.ckpt").explain(clip, machine="fan")
    assert found.nearest == ()
    assert np.isfinite(found.by_band).all()
    assert found.score == pytest.approx(Detector.load(trained).explain(clip, machine="fan").score)


def test_samples_without_their_rate_are_refused(detector: Detector) -> None:
    with pytest.raises(UserError, match="give sample_rate in Hz"):
        detector.explain(healthy(0))
