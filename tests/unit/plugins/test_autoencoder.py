"""The challenge's baseline: autoencoder and the three forms of its score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asd_plugins.autoencoder import Autoencoder
from scipy.spatial.distance import mahalanobis

from asd.errors import UserError
from asd.scoring import ResidualScorer

GENERATOR = torch.Generator().manual_seed(2)
MIXING = torch.randn(6, 6, generator=GENERATOR)
RESIDUALS = torch.randn(50, 20, 6, generator=GENERATOR) @ MIXING + 0.3
TARGET = torch.arange(50) >= 40
QUERY = torch.randn(7, 20, 6, generator=GENERATOR) * 2


def test_shape_and_number_of_parameters_are_those_of_the_baseline() -> None:
    encoder = Autoencoder()
    assert encoder.feature_dim == 309 * 640
    count = sum(p.numel() for p in encoder.parameters())
    assert count == 640 * 128 + 7 * 128 * 128 - 128 * 128 + 2 * 128 * 8 + 128 * 640 + (8 * 128 + 8) + 640 + 2 * (
        8 * 128 + 8
    )


def test_a_stack_is_five_frames_in_a_row() -> None:
    encoder = Autoencoder.tiny().eval()
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    level = encoder.spectrogram(torch.randn(2, 16000, generator=GENERATOR))
    residuals = encoder.encode(level).reshape(2, -1, 5, 16)
    assert torch.equal(residuals[1, 3], level[1, 3:8])


def test_clips_too_short_for_a_stack_are_refused() -> None:
    with pytest.raises(UserError, match=r"Autoencoder: 0\.1 s"):
        Autoencoder(seconds=0.1)


def fitted(form: str) -> torch.Tensor:
    return ResidualScorer(form, 6).fit(RESIDUALS.flatten(1), TARGET)(QUERY.flatten(1))


def test_mse() -> None:
    torch.testing.assert_close(fitted("mse"), QUERY.square().mean((1, 2)))


def test_mahalanobis_in_both_forms() -> None:
    inverses = [np.linalg.inv(np.cov(RESIDUALS[part].flatten(0, 1).double().numpy().T)) for part in (~TARGET, TARGET)]
    zero = np.zeros(6)
    for clip, mean, frames in zip(
        QUERY.double().numpy(), fitted("mahalanobis_mean"), fitted("mahalanobis_frames"), strict=True
    ):
        assert float(mean) == pytest.approx(
            min(mahalanobis(clip.mean(0), zero, one) ** 2 for one in inverses), rel=1e-3
        )
        lengths = [np.mean([mahalanobis(row, zero, one) ** 2 for row in clip]) for one in inverses]
        assert float(frames) == pytest.approx(min(lengths), rel=1e-3)
        # What the baseline computes: the mean over all pairs of frames.
        pairs = [(clip @ one @ clip.T).mean() for one in inverses]
        assert float(mean) == pytest.approx(min(pairs), rel=1e-3)


def test_widths_and_forms_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="120 columns hold no whole residuals of 7"):
        ResidualScorer("mse", 7).fit(RESIDUALS.flatten(1), TARGET)
    with pytest.raises(UserError, match="form is 'mae'"):
        ResidualScorer("mae")
