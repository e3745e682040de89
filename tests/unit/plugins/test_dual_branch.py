"""The dual-branch CNN: its inputs, its statistics, its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asd_plugins.dual_branch import DualBranchCNN

from asd.encoders import Augmentation, Statistics
from asd.errors import UserError
from asd.testing import check_encoder

SMALL = {"seconds": 1.0, "width": 4, "branch_dim": 8, "spectrum_points": 1000}


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


def test_a_row_is_what_its_part_of_the_spectrogram_gives_beside_the_whole_spectrum() -> None:
    torch.manual_seed(0)
    encoder = DualBranchCNN(**SMALL, rows=3).eval()
    waveform = torch.randn(2, 16000)
    branch = encoder.spectrogram_branch
    with torch.no_grad():
        rows = encoder.layout.grid(encoder(waveform))[:, 0, 0]
        x = branch.stem(encoder.spectrogram(waveform)[:, None])
        for block in branch.blocks:
            x = block(x)
        spectrum = encoder.spectrum_branch(encoder.spectrum(waveform))
        assert rows.shape == (2, 3, 16)
        # 500 bands are 16 by then: 6, 5 and 5 of them.
        for row, (low, high) in enumerate(((0, 6), (6, 11), (11, 16))):
            own = branch.head[row](x.amax(2)[:, :, low:high].flatten(1))
            torch.testing.assert_close(rows[:, row], torch.cat([own, spectrum], 1))
    assert [row.tolist() for row in torch.arange(48).split(encoder.branches)] == [[*range(24)], [*range(24, 48)]]


def test_one_row_has_the_weights_of_earlier_versions() -> None:
    names = set(DualBranchCNN.tiny().state_dict())
    assert {"spectrogram_branch.head.0.weight", "spectrogram_branch.head.1.weight"} <= names
    assert not any(name.startswith("further") for name in names)


def test_further_resolutions_lie_behind_the_two_branches_each_with_its_own_statistics() -> None:
    torch.manual_seed(0)
    encoder = DualBranchCNN(**SMALL, resolutions=[(256, 128), (4096, 1024)]).eval()
    waveform = torch.randn(3, 16000)
    encoder.observe(waveform)
    for one in encoder.modules():
        if isinstance(one, Statistics):
            one.finish()
    assert encoder.branches == (8, 8, 8, 8)
    assert [view.front_end.bands for view in encoder.further] == [125, 1997]  # bins from 200 to 8000 Hz
    with torch.no_grad():
        features = encoder(waveform)[:, 0, 0].split(8, 1)
        expected = [encoder.encode(encoder.spectrogram(waveform))[:, 0, 0]]
        expected.append(encoder.spectrum_branch(encoder.spectrum(waveform)))
        for view, frames in zip(encoder.further, (126, 16), strict=True):
            magnitude = view.front_end(encoder.prepare(waveform))
            assert magnitude.shape == (3, frames, view.front_end.bands)
            torch.testing.assert_close(view.statistics.mean, magnitude.mean((0, 1)), rtol=1e-4, atol=1e-5)
            standard = view.statistics(magnitude)
            expected.append(view.branch(standard - standard.mean(1, keepdim=True)))
    for found, wanted in zip(features, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_resolution_tells_what_the_others_cannot() -> None:
    """Two tones 8 Hz apart are two lines for a long window alone."""
    time = torch.arange(16000) / 16000
    pair = (2 * torch.pi * 996 * time).sin() + (2 * torch.pi * 1004 * time).sin()
    for window, frame, lines in ((1024, 2, 1), (8000, 1, 2)):
        encoder = DualBranchCNN(**SMALL, resolutions=[(window, window)])
        spectrum = encoder.further[0].front_end(pair[None])[0, frame]
        peaks = (spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:]) & (spectrum[1:-1] > 100)
        assert int(peaks.sum()) == lines


def test_every_branch_is_augmented_by_itself_in_training_alone() -> None:
    seen = []

    class Recorded(Augmentation):
        def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
            seen.append(spectrogram.shape[2])
            return spectrogram

    DualBranchCNN(**SMALL, resolutions=[(256, 128)], augment=Recorded())(torch.randn(2, 16000))
    assert seen == [500, 125]


def test_with_all_options_it_holds_to_the_contract() -> None:
    torch.manual_seed(0)
    options = {"low_hz": 0.0, "level": False, "clip_mean": False, "rows": 8, "resolutions": [(512, 256)]}
    check_encoder(DualBranchCNN(**SMALL, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.05}, "shorter than one window"),
        ({"low_hz": 9000.0}, "band"),
        ({"rows": 17}, "rows is 17; of this spectrogram 1 to 16 can be kept"),
        ({"rows": 0}, "rows is 0"),
        ({"rows": 5, "resolutions": [(256, 128)]}, "rows is 5; of this spectrogram 1 to 4"),
        ({"seconds": 0.2, "resolutions": [(4096, 512)]}, "shorter than one window of 4096"),
        ({"resolutions": [(256, 0)]}, "a window of 256 samples every 0"),
    ],
)
def test_arguments_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DualBranchCNN(**options)
