"""Noise is mixed at the level that was asked for, the same in every run; draws are balanced."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import RandomSampler

from asd.data.audio.decoding import decode
from asd.data.clip import Condition, Kind, Split
from asd.data.dataset import ClipDataset
from asd.data.layouts.dcase import scan
from asd.data.mixing import NoiseMix, mix
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.data.synthesis.mix_recordings import Place, mix_files
from asd.errors import UserError
from asd.testing import write_dataset

RATE = 16000


def sine(hertz: float, level: float = 0.4, seconds: float = 0.25) -> torch.Tensor:
    return level * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize("snr", [-20.0, -3.0, 0.0, 6.0, 40.0])
@pytest.mark.parametrize("level", [0.01, 0.4, 0.99])
def test_the_ratio_is_the_one_asked_for(snr: float, level: float) -> None:
    signal, noise = sine(440, level), sine(3000, 0.2)
    mixed = mix(signal, noise, snr)
    parts = [float(mixed @ one / (one @ one)) * float(one.square().mean().sqrt()) for one in (signal, noise)]
    assert 20 * np.log10(parts[0] / parts[1]) == pytest.approx(snr, abs=0.01)
    assert mixed.abs().max() <= 1
    gain = float(signal.square().mean().sqrt() / noise.square().mean().sqrt()) / 10 ** (snr / 20)
    assert torch.allclose(mixed, signal / (1 + gain) + noise * gain / (1 + gain), atol=1e-6), "by the rule"


def test_silence_is_left_out() -> None:
    signal, silence = sine(440), torch.zeros(4000)
    assert torch.equal(mix(signal, silence, 3.0), signal)
    assert torch.equal(mix(silence, signal, 3.0), signal)


@pytest.mark.parametrize("options", [{"snr": (5.0, 0.0)}, {"probability": 1.5}])
def test_levels_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"NoiseMix: {next(iter(options))} is"):
        NoiseMix(**options)  # type: ignore[arg-type]


def epoch_of(data: ToyADMOS2, epoch: int) -> dict[int, torch.Tensor]:
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return {
        row: waveform for batch in loader for row, waveform in zip(batch.index.tolist(), batch.waveform, strict=True)
    }


@pytest.mark.filterwarnings("ignore:.*many workers.*")
def test_noise_is_added_to_machine_sound_alone_and_drawn_anew_each_epoch(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    options = {"root": root, "seconds": 0.25, "batch_size": 4}
    plain = epoch_of(ToyADMOS2(**options), 0)
    data = ToyADMOS2(**options, noise_mix=NoiseMix((0.0, 10.0), 1.0))
    mixed, again = epoch_of(data, 0), epoch_of(data, 1)
    for row, clip in enumerate(data.train_clips):
        same = torch.equal(plain[row], mixed[row])
        assert same == (clip.kind != Kind.MACHINE)
        if clip.kind == Kind.MACHINE:
            assert not torch.equal(mixed[row], again[row])
    other = epoch_of(ToyADMOS2(**options, noise_mix=NoiseMix((0.0, 10.0), 1.0), workers=2), 0)
    assert all(torch.equal(mixed[row], other[row]) for row in mixed), "workers change nothing"
    half = epoch_of(ToyADMOS2(**options, noise_mix=NoiseMix((0.0, 10.0), 0.5)), 0)
    changed = sum(not torch.equal(half[row], plain[row]) for row in plain)
    assert 0 < changed < sum(clip.kind == Kind.MACHINE for clip in data.train_clips)
    bare = ToyADMOS2(**options)
    bare.setup("fit")
    for loader, expected in zip(data.val_dataloader(), bare.val_dataloader(), strict=True):
        assert all(torch.equal(a.waveform, b.waveform) for a, b in zip(loader, expected, strict=True)), (
            "not when scoring"
        )


def test_a_noise_clip_gives_another_crop_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, torch.Tensor]] = []
    usual = ClipDataset.waveform

    def noted(self: ClipDataset, row: int, generator: torch.Generator) -> torch.Tensor:
        used.append((row, usual(self, row, generator)))
        return used[-1][1]

    monkeypatch.setattr(ClipDataset, "waveform", noted)
    root = write_dataset(tmp_path)
    for epoch in (0, 1, 0):
        epoch_of(ToyADMOS2(root, seconds=0.1, noise_mix=NoiseMix(probability=1.0)), epoch)
    share = len(used) // 3
    first, second, again = used[:share], used[share : 2 * share], used[2 * share :]
    assert max(Counter(row for row, _ in first).values()) > 1, "one is added to several training clips of an epoch"
    assert len({tuple(crop.tolist()) for _, crop in first + second}) == 2 * share
    assert all(torch.equal(one, same) for (_, one), (_, same) in zip(first, again, strict=True)), "as in any run"


def test_noise_is_mixed_where_it_is_no_class(tmp_path: Path) -> None:
    data = ToyADMOS2(
        write_dataset(tmp_path), seconds=0.25, noise_class="none", noise_mix=NoiseMix((0.0, 0.0), 1.0), cache_gb=0.1
    )
    plain = epoch_of(ToyADMOS2(tmp_path, seconds=0.25, noise_class="none"), 0)
    mixed = epoch_of(data, 0)
    assert not any("noise" in name for name in data.classes.names)
    assert any(not torch.equal(plain[row], mixed[row]) for row in plain)


def test_a_machine_without_noise_clips_is_named(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    for path in (root / "dev_data/raw/fan/supplemental").glob("*noise*"):
        path.unlink()
    (root / "dev_data/raw/fan/attributes_00.csv").unlink()
    data = ToyADMOS2(root, seconds=0.25, noise_mix=NoiseMix())
    data.setup("fit")
    with pytest.raises(UserError, match="no noise clips of fan"):
        data.train_dataloader()


# -- balanced draws


@pytest.mark.parametrize("balance", ["class", "domain"])
def test_draws_are_balanced_and_follow_from_seed_and_epoch(balance: str, tmp_path: Path) -> None:
    data = ToyADMOS2(write_dataset(tmp_path), seconds=0.25, batch_size=5, balance=balance, cache_gb=0)  # type: ignore[arg-type]
    data.setup("fit")
    sampler = data.train_dataloader().sampler
    kinds: Counter[object] = Counter()
    for epoch in range(400):
        sampler.set_epoch(epoch)
        rows = list(sampler)
        assert len(rows) == len(data.train_clips)
        for row in rows:
            clip = data.train_clips[row]
            kinds[data.classes.label(clip) if balance == "class" else (clip.machine, clip.domain, clip.kind)] += 1
    share = np.array(list(kinds.values())) / sum(kinds.values())
    assert np.allclose(share, 1 / len(kinds), rtol=0.15)
    sampler.set_epoch(3)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first
    assert rows != first


def test_balanced_draws_are_dealt_to_ranks(tmp_path: Path) -> None:
    data = ToyADMOS2(write_dataset(tmp_path), seconds=0.25, balance="class", cache_gb=0)
    data.setup("fit")
    loader = data.train_dataloader()
    assert not isinstance(loader.sampler, RandomSampler), "Lightning would put an order of its own in its place"
    for epoch in (0, 3):
        loader.dataset.set_epoch(epoch)
        drawn = Counter(loader.sampler)
        dealt: Counter[int] = Counter()
        for rank in range(2):
            wrapped = DistributedSamplerWrapper(loader.sampler, num_replicas=2, rank=rank, shuffle=True, drop_last=True)
            wrapped.set_epoch(epoch)
            dealt.update(wrapped)
        assert sum((drawn - dealt).values()) == len(data.train_clips) % 2, "each draw goes to one rank"


def test_an_unknown_balance_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.balance must be off, class or domain"):
        ToyADMOS2(tmp_path, balance="machine")  # type: ignore[arg-type]


# -- channels by name


@pytest.mark.parametrize("option", ["channel", "channels"])
@pytest.mark.parametrize(("channel", "expected"), [("near", 0), ("far", 1), (1, 1)])
def test_channels_have_names(option: str, channel: str | int, expected: int, tmp_path: Path) -> None:
    folder = tmp_path / "dev_data/raw/ToyCarEmu/train"
    folder.mkdir(parents=True)
    both = torch.stack([sine(440), sine(3000)], dim=1).numpy()
    soundfile.write(folder / "section_00_source_train_normal_0000_car_A1_spd_1_mic_2_mic_1.wav", both, RATE)
    data = ToyADMOS2(tmp_path, seconds=0.25, cache_gb=0, **{option: channel})  # type: ignore[arg-type]
    data.setup("fit")
    (batch,) = data.statistics_dataloader()
    assert torch.allclose(batch.waveform[0], torch.from_numpy(both[:, expected]), atol=1e-4)


def test_an_unknown_channel_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.channel must be at least 0, near, far"):
        ToyADMOS2(tmp_path, channel="left")  # type: ignore[arg-type]


# -- ingredients


@pytest.fixture
def ingredients(tmp_path: Path) -> Path:
    """Normal and anomalous recordings with names of ToyADMOS2, and noise that is too short once."""
    for name, hertz in (("CN031-carB1-speed1_mic3_00001", 440), ("CA002-carB1-speed2_mic3_00001", 880), ("hum", 220)):
        folder = tmp_path / ("anomaly" if name.startswith("CA") else "normal")
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{name}.wav", sine(hertz).numpy(), RATE)
    (tmp_path / "noise").mkdir()
    for number, seconds in enumerate((0.1, 1.0)):
        sound = 0.2 * np.random.default_rng(number).standard_normal(round(seconds * RATE))
        soundfile.write(tmp_path / f"noise/N1_mic3_{number:05d}.wav", sound, RATE)
    return tmp_path


def test_ingredients_become_a_data_set(ingredients: Path) -> None:
    out = ingredients / "out"
    train = Place("ToyCar")
    test = Place("ToyCar", split=Split.TEST, condition=Condition.ANOMALY)
    mix_files(ingredients / "normal", ingredients / "noise", out, train, [6.0])
    mix_files(ingredients / "normal", ingredients / "noise", out, train, [None])
    mix_files(ingredients / "anomaly", ingredients / "noise", out, test, [6.0])
    clips = scan(out)
    names = [clip.path.name for clip in clips]
    assert len(set(names)) == 5, "the second call numbers on"
    found = {(clip.split, clip.condition, clip.attributes) for clip in clips}
    assert (Split.TEST, Condition.ANOMALY, "carB1_speed2_mic3") in found
    assert (Split.TRAIN, Condition.NORMAL, "carB1_speed1_mic3") in found
    assert (Split.TRAIN, Condition.NORMAL, "") in found
    clean = next(clip for clip in clips if clip.path.name.startswith("section_00_source_train_normal_00002"))
    assert np.abs(decode(clean.path, RATE) / 32768 - sine(440).numpy()).max() < 1e-3
    noisy = decode(next(c for c in clips if "normal_00000" in c.path.name).path, RATE) / 32768
    tone = sine(440).numpy()
    signal = (noisy @ tone) / (tone @ tone) * tone
    ratio = 10 * np.log10((signal**2).mean() / ((noisy - signal) ** 2).mean())
    assert ratio == pytest.approx(6.0, abs=0.3)


def test_wrong_ingredients_are_named(ingredients: Path) -> None:
    noise, out = ingredients / "noise", ingredients / "out"
    with pytest.raises(UserError, match=r"is an anomaly .*--split test"):
        mix_files(ingredients / "anomaly", noise, out, Place("ToyCar"), [6.0])
    with pytest.raises(UserError, match="no folder"):
        mix_files(ingredients / "absent", noise, out, Place("ToyCar"), [6.0])
    (ingredients / "empty").mkdir()
    with pytest.raises(UserError, match="holds no recording"):
        mix_files(ingredients / "normal", ingredients / "empty", out, Place("ToyCar"), [6.0])
    with pytest.raises(UserError, match="no signal-to-noise ratio"):
        mix_files(ingredients / "normal", noise, out, Place("ToyCar"), [])
    (ingredients / "file").write_text("in the way\n")
    with pytest.raises(UserError, match="cannot write"):
        mix_files(ingredients / "normal", noise, ingredients / "file", Place("ToyCar"), [6.0])


# -- machines in the root itself


def test_machines_in_the_root_itself_are_found(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    (tmp_path / "data/dev_data/raw").rename(tmp_path / "mimii_dg")
    clips = scan(tmp_path / "mimii_dg")
    assert {clip.machine for clip in clips} == {"fan", "valve"}
    with pytest.raises(UserError, match="eval_data"):
        scan(tmp_path / "mimii_dg", ["eval_data"])
