"""Encoders side by side: each as if alone, on its own sample rate, at the same time as the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soxr
import torch
import torch.nn.functional as F
import torchaudio
from asd_plugins.ast import AST
from asd_plugins.beats import BEATs
from asd_plugins.dasheng import CED, Dasheng
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.fusion import Fusion
from asd_plugins.lora import LoRA
from asd_plugins.mobilenet import MobileNet
from torch import Tensor, nn

from asd import plugins
from asd.encoders import Encoder
from asd.errors import UserError
from asd.testing.encoder import burst_offsets
from asd.training import checkpoints
from asd.training.module import AnomalyDetector
from asd.training.restore import restore

WAVE = torch.randn(2, 32000, generator=torch.Generator().manual_seed(0)) * 0.1
plugins.load_all()
# Small ones that hear four seconds, and those of which there is more than one kind.
LONGER: dict[str, Callable[[], Encoder]] = {
    "AST": lambda: AST(frames=400, config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}),
    "MobileNet, rows kept": lambda: MobileNet(width=0.1, rows="kept", blocks=11),
    "CED, adapted": lambda: LoRA(CED(shape=CED.tiny().shape)),
}
FOUND = [name for name, cls in plugins.known(Encoder).items() if cls.__module__.startswith("asd_plugins")]
PARTS = {name: plugins.resolve(name, Encoder).tiny for name in FOUND} | LONGER


def made(name: str) -> Encoder:
    torch.manual_seed(0)
    return PARTS[name]()


def pairs() -> list[tuple[str, str]]:
    """Each with the next one of as many layers, in both places; an ensemble is no part of a fusion."""
    by_layers = defaultdict(list)
    for name in (one for one in PARTS if one != "SeedEnsemble"):
        by_layers[made(name).layers].append(name)
    return [pair for names in by_layers.values() for pair in zip(names, [*names[1:], names[0]], strict=True)]


@pytest.mark.parametrize(("one", "other"), pairs())
def test_a_burst_shows_in_every_part_where_it_sounds(one: str, other: str) -> None:
    fused = Fusion([made(one), made(other)])
    split = fused.widths[0]
    seconds = min(part.seconds or 4.0 for part in fused.encoders)
    for columns in (slice(split), slice(split, None)):
        offsets = burst_offsets(fused, seconds, columns)
        assert max(map(abs, offsets)) <= 1.5, offsets


def test_frames_are_those_of_the_longest_and_hold_what_the_others_have_at_their_time() -> None:
    beats, dasheng = BEATs.tiny().eval(), Dasheng.tiny().eval()
    fused = Fusion([beats, dasheng], normalise=False)
    assert fused.widths == [beats.feature_dim, dasheng.feature_dim]
    with torch.no_grad():
        features, patches, frames = fused(WAVE), beats(WAVE), dasheng(WAVE)
    # 2 s are 12 frames of BEATs, the last of which is joined with all that is left.
    torch.testing.assert_close(features[..., : fused.widths[0]], patches.unflatten(2, (12, 8)).mean(3))
    quadruples = frames[:, :, :44].unflatten(2, (11, 4)).mean(3)
    torch.testing.assert_close(features[:, :, :11, fused.widths[0] :], quadruples)
    torch.testing.assert_close(features[:, :, 11, fused.widths[0] :], frames[:, :, 44:].mean(2))


def test_past_the_end_of_what_a_part_hears_it_has_its_last_frame() -> None:
    short, long = AST.tiny().eval(), MobileNet.tiny().eval()
    with torch.no_grad():
        features = Fusion([short, long], normalise=False).eval()(WAVE.repeat(1, 2))[..., : short.feature_dim]
    assert features.shape[2] == 7
    assert torch.equal(features[:, :, 3:], features[:, :, 3:4].expand(-1, -1, 4, -1))
    assert not torch.equal(features[:, :, 1], features[:, :, 3])


def test_frames_go_on_past_the_end_of_the_one_with_the_longest() -> None:
    short, long = AST.tiny().eval(), Dasheng(shape=Dasheng.tiny().shape).eval()
    with torch.no_grad():
        features = Fusion([short, long], normalise=False).eval()(WAVE)[0, 0, :, short.feature_dim :]
    assert len(features) == 12
    gaps = (features[1:] - features[:-1]).norm(dim=1)
    assert float(gaps[-3:].min()) > 0.1 * float(gaps.max())


def test_no_part_outweighs_another_by_its_scale() -> None:
    def shares(fused: Fusion) -> list[float]:
        with torch.no_grad():
            fused.encoders[1].norm.weight.mul_(5)
            parts = fused.eval()(WAVE).square().mean((0, 2)).split(fused.widths, dim=-1)
        energies = torch.stack([part.sum() for part in parts])
        return (energies / energies.sum()).tolist()

    wide = BEATs(layers=2, shape=BEATs.tiny().shape)
    narrow = Dasheng(layers=2, shape=type(Dasheng.tiny().shape)(8, 2, 2))
    assert shares(Fusion([wide, narrow], normalise=False))[1] > 0.9
    assert shares(Fusion([wide, narrow])) == pytest.approx([0.5, 0.5], abs=1e-4)


def test_a_part_of_a_lower_sample_rate_hears_the_clip_resampled() -> None:
    low, high = DualBranchCNN.tiny().eval(), MobileNet.tiny().eval()
    fused = Fusion([low, high], normalise=False).eval()
    assert fused.sample_rate == 32000
    with torch.no_grad():
        heard = low(torch.from_numpy(soxr.resample(WAVE.numpy().T, 32000, 16000, quality="HQ").T.copy()))
        torch.testing.assert_close(fused(WAVE)[:, :, 0, : low.feature_dim], heard[:, :, 0], rtol=1e-2, atol=1e-2)


def decibels(waveform: Tensor) -> float:
    middle = waveform[:, waveform.shape[1] // 4 : -waveform.shape[1] // 4].double()
    return float(10 * (2 * middle.square().mean() + 1e-20).log10())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("rates", [(16000, 32000), (16000, 48000), (32000, 48000)])
def test_resampling_is_as_good_as_that_of_recordings(rates: tuple[int, int], autocast: bool) -> None:
    parts = [BEATs.tiny(), BEATs.tiny()]
    for part, rate in zip(parts, rates, strict=True):
        part.sample_rate = rate
    resample = Fusion(parts).resample[0]
    time = torch.arange(rates[1], dtype=torch.float64) / rates[1]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        for part, least, most in ((0.45, -0.1, 0.1), (0.47, -0.8, 0.1), (0.505, -400, -100), (0.6, -400, -100)):
            tone = torch.sin(2 * torch.pi * part * rates[0] * time).float()[None]
            assert least <= decibels(resample(tone)) <= most, part


def test_training_set_statistics_reach_every_part() -> None:
    part = DualBranchCNN.tiny()
    Fusion([part, DualBranchCNN.tiny()]).observe(torch.randn(2, 16000))
    assert part.statistics.count > 0


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"same number of layers, not \[2, 1\]"):
        Fusion([BEATs.tiny(), MobileNet.tiny()])
    with pytest.raises(UserError, match="two encoders or more"):
        Fusion([BEATs.tiny()])
    with pytest.raises(UserError, match="align is 'frames'; give time or tokens"):
        Fusion([BEATs.tiny(), Dasheng.tiny()], align="frames")


def as_before(parts: list[Encoder], resamplers: list[nn.Module], waveform: Tensor) -> Tensor:
    """What earlier versions made of a clip."""
    features = [part(resample(waveform))[:, 0] for part, resample in zip(parts, resamplers, strict=True)]
    tokens = min(one.shape[1] for one in features)
    return torch.cat([F.adaptive_avg_pool1d(one.mT, tokens).mT for one in features], dim=-1)[:, None]


@pytest.mark.parametrize("class_path", ["Fusion", "asd_plugins.fusion.Fusion"])
def test_a_checkpoint_of_an_earlier_version_keeps_its_meaning(tmp_path: Path, class_path: str) -> None:
    parts: list[Encoder] = [CED(layers=1, shape=CED.tiny().shape), MobileNet(width=0.1)]
    old = Fusion(parts, align="tokens", normalise=False)
    detector = AnomalyDetector(old).eval()
    detector.build(["a", "b"], ["fan_section_00"])
    shape = {"width": 16, "depth": 2, "heads": 2}
    encoders = [
        {"class_path": "CED", "init_args": {"layers": 1, "shape": shape}},
        {"class_path": "MobileNet", "init_args": {"width": 0.1}},
    ]
    config: dict[str, Any] = {
        "model": {"encoder": {"class_path": class_path, "init_args": {"encoders": encoders}}},
        "data": {"class_path": "ToyADMOS2", "init_args": {"root": "d"}},
        "trainer": {},
    }
    described = checkpoints.describe(config, ["a", "b"], ["fan_section_00"])
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": detector.state_dict(), checkpoints.KEY: described}, file)
    restored, config = restore(file)
    resamplers = [torchaudio.transforms.Resample(32000, 16000), nn.Identity()]
    with torch.no_grad():
        torch.testing.assert_close(restored.encoder(WAVE), as_before(parts, resamplers, WAVE))
    assert config["model"]["encoder"]["init_args"]["normalise"] is False
    assert checkpoints.of_today(config) == config


@pytest.mark.parametrize("arguments", [{"encoders": [], "normalise": True, "align": "time"}, "a.yaml"])
def test_what_a_run_says_of_how_it_joins_is_left(arguments: Any) -> None:
    written = {"class_path": "Fusion", "init_args": arguments}
    assert checkpoints.of_today({"model": {"encoder": written}})["model"]["encoder"] == written
