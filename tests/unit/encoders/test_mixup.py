"""Mixtures by amplitude and by energy, of clips at one level, at others, and of silence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asd.encoders.augment import Mixup

SAMPLES = 1600


def tones(levels: list[float]) -> Tensor:
    """``(B, T)``: a tone of its own for each clip, orthogonal to all others, at that root mean square."""
    time = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES
    waves = [level * math.sqrt(2) * (2 * math.pi * 3 * (i + 1) * time).sin() for i, level in enumerate(levels)]
    return torch.stack(waves).float()


def mixed(waveform: Tensor, by_energy: bool, seed: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return Mixup(1.0, by_energy=by_energy).train()(waveform, torch.eye(len(waveform)))


def energies(mixture: Tensor, levels: list[float]) -> Tensor:
    """``(B, B)``: the energy of each tone in each mixture."""
    unit = tones([1.0] * len(levels))
    return (mixture @ unit.T / SAMPLES).square()


LEVELS = [0.1, 0.01, 0.3, 0.0003, 0.05, 0.1, 0.02, 0.7]


def test_energies_mix_as_the_labels_say() -> None:
    mixture, labels = mixed(tones(LEVELS), by_energy=True)
    assert (labels.amax(1) < 0.95).sum() > 3
    found = energies(mixture, LEVELS)
    torch.testing.assert_close(found / found.sum(1, keepdim=True), labels, rtol=1e-3, atol=1e-4)
    # The level is that of the mixed energies.
    expected = labels @ torch.tensor(LEVELS).square()
    torch.testing.assert_close(mixture.square().mean(1), expected, rtol=1e-3, atol=0)


def test_of_amplitudes_the_louder_clip_has_the_energy() -> None:
    loud = [0.1, 0.01]
    for seed in range(20):
        mixture, labels = mixed(tones(loud), by_energy=False, seed=seed)
        torch.testing.assert_close(mixture, labels @ tones(loud))
        quiet = labels[0, 1]
        if 0.4 < quiet < 0.6:
            found = energies(mixture, loud)[0]
            assert found[1] / found.sum() < 0.03
            return
    pytest.fail("no pair was mixed about half and half")


def test_the_levels_of_the_clips_change_the_level_of_the_mixture_alone() -> None:
    shapes = []
    for levels in ([1.0] * 8, LEVELS):
        mixture, _ = mixed(tones(levels), by_energy=True)
        shapes.append(mixture / mixture.square().mean(1, keepdim=True).sqrt())
    torch.testing.assert_close(shapes[0], shapes[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1e-30])
def test_silence_adds_nothing_and_stays_silent(level: float) -> None:
    waveform = tones([0.1, level, 0.2, level])
    for seed in range(8):
        mixture, labels = mixed(waveform, True, seed)
        assert mixture.isfinite().all()
        sound = labels[:, 0] + labels[:, 2]
        expected = labels @ torch.tensor([0.1, 0.0, 0.2, 0.0]).square()
        torch.testing.assert_close(mixture.square().mean(1), expected, rtol=1e-3, atol=1e-9)
        assert (mixture.abs().amax(1)[sound == 0] < 1e-3).all()


def test_a_clip_mixed_with_its_like_is_as_it_was() -> None:
    waveform = tones([0.1]).expand(6, -1)
    mixture, _ = mixed(waveform, True)
    torch.testing.assert_close(mixture, waveform, rtol=1e-4, atol=1e-6)


def test_clips_that_are_not_mixed_stay_bit_for_bit_and_draw_the_same_numbers() -> None:
    torch.manual_seed(0)
    waveform, targets = tones(LEVELS), torch.eye(8)
    mixture, labels = Mixup(0.5, by_energy=True).train()(waveform, targets)
    torch.manual_seed(0)
    assert torch.equal(labels, Mixup(0.5).train()(waveform, targets)[1])
    alone = labels.amax(1) == 1
    assert 0 < alone.sum() < 8
    assert torch.equal(mixture[alone], waveform[alone])
