"""The dual-branch CNN: its inputs, its statistics, its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asd_plugins.dual_branch import DualBranchCNN

from asd.errors import UserError


def test_the_first_branch_sees_200_to_8000_hz_of_a_1024_point_stft() -> None:
    encoder = DualBranchCNN(level=False)
    low, high = 13, 512  # 203 Hz is the first bin of 15.6 Hz above 200 Hz
    assert encoder.front_end.bands == high - low + 1
    waveform = torch.randn(1, 160000) * 0.1
    magnitude = encoder.front_end(waveform)[0].numpy()
    window = np.hanning(1025)[:-1]
    padded = np.pad(waveform[0].numpy(), 512)
    for frame in (0, 7, 312):
        expected = np.abs(np.fft.rfft(padded[frame * 512 : frame * 512 + 1024] * window))[low : high + 1]
        np.testing.assert_allclose(magnitude[frame], expected, rtol=1e-3, atol=1e-4)


def test_the_second_branch_sees_the_magnitudes_of_the_whole_clip() -> None:
    encoder = DualBranchCNN(seconds=1.0, level=False)
    time = torch.arange(16000) / 16000
    spectrum = encoder.spectrum(torch.sin(2 * torch.pi * 1000 * time)[None])[0]
    assert spectrum.shape == (8000,)
    assert spectrum.argmax().item() == 999  # the constant part is left out
    assert spectrum[999].item() == pytest.approx(8000, rel=1e-3)


def test_long_clips_have_their_spectrum_averaged_down_to_8000_points() -> None:
    assert DualBranchCNN(seconds=10.0).spectrum(torch.randn(2, 160000)).shape == (2, 8000)
    assert DualBranchCNN(seconds=0.5).points == 4000


def test_clips_are_repeated_or_trimmed_to_the_length_it_is_built_for() -> None:
    encoder = DualBranchCNN.tiny().eval()
    waveform = torch.randn(1, 16000)
    with torch.no_grad():
        assert torch.equal(encoder(torch.cat([waveform, torch.randn(1, 999)], 1)), encoder(waveform))
        half = waveform[:, :8000]
        torch.testing.assert_close(encoder(half), encoder(half.repeat(1, 2)))


def test_level_is_no_property_of_the_machine_unless_asked() -> None:
    waveform = torch.randn(2, 16000)
    for level, same in ((True, True), (False, False)):
        torch.manual_seed(0)
        encoder = DualBranchCNN(seconds=1.0, width=4, branch_dim=8, spectrum_points=1000, level=level).eval()
        with torch.no_grad():
            assert torch.allclose(encoder(waveform), encoder(waveform * 0.1), rtol=1e-3, atol=1e-4) == same


def test_statistics_are_those_of_all_frames_however_they_are_dealt() -> None:
    waveform = torch.randn(7, 16000)
    fitted = []
    for parts in ([7], [3, 4], [1, 1, 5]):
        encoder = DualBranchCNN.tiny()
        for part in waveform.split(parts):
            encoder.observe(part)
        encoder.statistics.finish()
        fitted.append(encoder.statistics)
    frames = fitted[0], DualBranchCNN.tiny()
    rows = frames[1].front_end(frames[1].prepare(waveform)).flatten(0, 1)
    torch.testing.assert_close(fitted[0].mean, rows.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fitted[0].std, rows.std(0, correction=0), rtol=1e-3, atol=1e-5)
    for other in fitted[1:]:
        torch.testing.assert_close(other.mean, fitted[0].mean, rtol=1e-6, atol=0)
    standard = fitted[0](rows[None])[0]
    assert standard.mean().abs() < 1e-3


def test_the_mean_of_the_training_set_goes_in_that_of_each_clip() -> None:
    waveform = torch.randn(4, 16000)
    own, whole = (
        DualBranchCNN(seconds=1.0, width=4, branch_dim=8, spectrum_points=1000, clip_mean=one) for one in (True, False)
    )
    for encoder in (own, whole):
        encoder.observe(waveform)
        encoder.statistics.finish()
    before = own.spectrogram(waveform)
    assert before.mean(1).abs().max() < 1e-4
    assert whole.spectrogram(waveform).mean((0, 1)).abs().max() < 1e-3 < whole.spectrogram(waveform).mean(1).abs().max()
    own.statistics.mean.add_(1.0)
    torch.testing.assert_close(own.spectrogram(waveform), before, rtol=1e-4, atol=1e-4)


def test_the_embedding_has_256_columns_and_the_network_its_size() -> None:
    encoder = DualBranchCNN()
    assert encoder.feature_dim == 256
    assert encoder.front_end.bands == 500  # bins from 200 to 8000 Hz
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(2.42, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seconds": 0.05}, "shorter than one window"), ({"low_hz": 9000.0}, "band")],
)
def test_arguments_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DualBranchCNN(**options)
