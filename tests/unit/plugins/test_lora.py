"""LoRA: nothing changes before training, only the thin matrices train, and merging changes no output."""

from __future__ import annotations

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.bitfit import BitFit
from asd_plugins.bottleneck import Bottleneck
from asd_plugins.dasheng import CED, Dasheng
from asd_plugins.fusion import Fusion
from asd_plugins.lora import LoRA
from asd_plugins.mobilenet import MobileNet

from asd.encoders import Encoder
from asd.errors import UserError
from asd.training.warmup import WarmUp

WAVE = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))


def trained(encoder: Encoder) -> set[str]:
    return {name for name, p in encoder.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", [BEATs, Dasheng])
def test_before_training_it_is_the_encoder(kind: type[Encoder]) -> None:
    encoder = kind.tiny().eval()
    with torch.no_grad():
        expected = encoder(WAVE)
        torch.testing.assert_close(LoRA(encoder).eval()(WAVE), expected)


def test_thawing_trains_the_thin_matrices_alone() -> None:
    encoder = LoRA(BEATs.tiny(), rank=2, targets=["q_proj", "v_proj"])
    warmup = WarmUp(epochs=1)
    warmup.apply(encoder, 0)
    assert not trained(encoder)
    warmup.apply(encoder, 1)
    assert trained(encoder)
    assert all(".lora_" in name and ("q_proj" in name or "v_proj" in name) for name in trained(encoder))
    gradual = WarmUp(epochs=0, stage_epochs=1)
    gradual.apply(encoder, 0)
    assert all(".blocks.1." in name and ".lora_" in name for name in trained(encoder))


def test_merging_changes_no_output_and_leaves_a_plain_encoder() -> None:
    encoder = LoRA(BEATs.tiny(), rank=2).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
        expected = encoder(WAVE)
        merged = encoder.merged()
        torch.testing.assert_close(merged.eval()(WAVE), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder(WAVE), expected)
    assert merged.state_dict().keys() == BEATs.tiny().state_dict().keys()


def test_what_cannot_be_adapted_is_named() -> None:
    with pytest.raises(UserError, match=r"no linear layer of BEATs is chosen by targets \['qkv'\]; it has .*q_proj"):
        LoRA(BEATs.tiny(), targets=["qkv"])
    with pytest.raises(UserError, match="rank is 0"):
        LoRA(BEATs.tiny(), rank=0)
    with pytest.raises(UserError, match="no linear layer"):
        LoRA(MobileNet.tiny(), targets=["q_proj"])


def test_an_encoder_that_is_no_transformer_is_told() -> None:
    with pytest.raises(UserError, match=r"MobileNet does not say which of its layers .*; give targets as ends"):
        LoRA(MobileNet.tiny(), targets="attention")
    with pytest.raises(UserError, match=r"targets is 'qkv'; give attention, or a list of .*: it has .*q_proj"):
        LoRA(BEATs.tiny(), targets="qkv")
    with pytest.raises(UserError, match=r"MobileNet is no transformer, or does not say .*; choose another"):
        Bottleneck(MobileNet.tiny())
    with pytest.raises(UserError, match=r"width is 0 and dropout 1\.0; give 1 or more"):
        Bottleneck(BEATs.tiny(), width=0, dropout=1.0)
    with pytest.raises(UserError, match="has no biases to train; choose another encoder, or LoRA"):
        BitFit(_WithoutBias())


class _WithoutBias(Encoder):
    """One layer, without a bias."""

    sample_rate, feature_dim = 16000, 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(80, 8, bias=False)

    def spectrogram(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform.unflatten(1, (-1, 80))

    def encode(self, spectrogram: torch.Tensor) -> torch.Tensor:
        return self.layer(spectrogram)[:, None]

    def stages(self) -> list[torch.nn.Module]:
        return [self.layer]


@pytest.mark.parametrize("kind", [CED, Dasheng, MobileNet])
def test_statistics_stay_as_they_are_without_a_warm_up_too(kind: type[Encoder]) -> None:
    adapted = LoRA(kind.tiny(), rank=2)
    before = {name: buffer.clone() for name, buffer in adapted.named_buffers()}
    assert any("running_mean" in name for name in before)
    for encoder in (adapted, adapted.train(), Fusion([adapted, kind.tiny()]).train()):
        encoder(torch.randn(2, encoder.sample_rate))
        assert all(torch.equal(buffer, before[name]) for name, buffer in adapted.named_buffers())
    assert adapted.encoder.training
