"""Mel filters equal those of librosa and torchaudio, and spectrograms those of torch, window by window."""

from __future__ import annotations

from typing import Any

import librosa
import pytest
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from asd.encoders.mel import BandSpectrogram, mel_filters, pad_end


def gap(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("slaney", [False, True])
@pytest.mark.parametrize("norm", [None, "area", "sum"])
def test_filters_straight_in_hertz_are_those_of_librosa(slaney: bool, norm: Any) -> None:
    theirs = {None: None, "area": "slaney", "sum": 1}[norm]
    expected = librosa.filters.mel(sr=48000, n_fft=2048, n_mels=256, fmin=30, fmax=20000, htk=not slaney, norm=theirs)
    found = mel_filters(256, 2048, 48000, 30.0, 20000.0, "hertz", norm, slaney)
    assert gap(found, torch.from_numpy(expected).T) < 1e-6


def test_filters_straight_in_mel_are_those_of_kaldi_and_of_torchaudio() -> None:
    found = mel_filters(64, 512, 16000, 125.0, 7500.0, "mel")
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(64, 512, 16000.0, 125.0, 7500.0, 100.0, -500.0, 1.0)
    assert gap(found[:-1], banks.T) < 1e-4, "in float32"


def test_a_triangle_between_two_bins_is_empty_and_stays_finite() -> None:
    found = mel_filters(256, 2048, 48000, 0.0, 24000.0, "hertz", "sum")
    sums = found.sum(0)
    assert (sums == 0).sum() == 2
    torch.testing.assert_close(sums[sums > 0], torch.ones(254))


@pytest.mark.parametrize(("magnitude", "power"), [(False, 2), (True, 1)])
def test_a_spectrogram_has_a_window_every_hop(magnitude: bool, power: int) -> None:
    clips, window, filters = torch.randn(5, 1000), torch.hann_window(100), torch.rand(65, 7)
    found = BandSpectrogram(window, 30, filters, magnitude, size=128)(clips)
    frames = clips.unfold(1, 100, 30)
    assert frames.shape[1] == 31
    expected = torch.fft.rfft(F.pad(frames * window, (0, 28))).abs() ** power @ filters
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    bare = BandSpectrogram(window, 30, None, magnitude)(clips)
    torch.testing.assert_close(bare, torch.fft.rfft(frames * window).abs() ** power, rtol=1e-4, atol=1e-4)


def test_silence_is_zero_and_sends_no_gradient_that_is_not_finite() -> None:
    silence = torch.zeros(1, 400, requires_grad=True)
    found = BandSpectrogram(torch.hann_window(100), 50, None, magnitude=True)(silence)
    assert float(found.max()) < 1e-12
    found.sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


def test_clips_are_padded_at_the_end_and_never_cut() -> None:
    clip = torch.ones(2, 3)
    assert pad_end(clip, 5).tolist() == [[1, 1, 1, 0, 0]] * 2
    assert torch.equal(pad_end(clip, 2), clip)
