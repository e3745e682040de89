"""Encoders side by side: each as if alone, on its own sample rate, on the frames of the coarsest."""

from __future__ import annotations

import pytest
import torch
import torchaudio
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import Dasheng
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.fusion import Fusion
from asd_plugins.mobilenet import MobileNet

from asd.errors import UserError

WAVE = torch.randn(2, 32000, generator=torch.Generator().manual_seed(0)) * 0.1


def test_features_are_those_of_the_parts_averaged_to_the_fewest_frames() -> None:
    beats, dasheng = BEATs.tiny().eval(), Dasheng.tiny().eval()
    fused = Fusion([beats, dasheng])
    assert fused.widths == [beats.feature_dim, dasheng.feature_dim]
    with torch.no_grad():
        features, one, other = fused(WAVE), beats(WAVE), dasheng(WAVE)
    assert features.shape == (2, 2, min(one.shape[2], other.shape[2]), sum(fused.widths))
    mean = torch.cat([one.mean(2), other.mean(2)], dim=-1)
    torch.testing.assert_close(features.mean(2), mean, rtol=0.2, atol=0.1)
    torch.testing.assert_close(features[..., fused.widths[0] :], other)


def test_a_part_of_a_lower_sample_rate_hears_the_clip_resampled() -> None:
    low, high = DualBranchCNN.tiny().eval(), MobileNet.tiny().eval()
    fused = Fusion([low, high]).eval()
    assert fused.sample_rate == 32000
    with torch.no_grad():
        heard = low(torchaudio.functional.resample(WAVE, 32000, 16000))
        torch.testing.assert_close(fused(WAVE)[:, :, 0, : low.feature_dim], heard[:, :, 0])


def test_training_set_statistics_reach_every_part() -> None:
    part = DualBranchCNN.tiny()
    Fusion([part, DualBranchCNN.tiny()]).observe(torch.randn(2, 16000))
    assert part.statistics.count > 0


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"same number of layers, not \[2, 1\]"):
        Fusion([BEATs.tiny(), MobileNet.tiny()])
    with pytest.raises(UserError, match="two encoders or more"):
        Fusion([BEATs.tiny()])
