"""What the far microphone hears is subtracted: as the formula says, at any rate and length, and the machine stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from asd.data.audio.near_minus_far import near_minus_far, window_samples

RATE = 16000


def by_hand(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """The formula in NumPy, frame by frame, with 1024 samples and a hop of 512."""
    size, hop = 1024, 512
    peak = max(np.abs(near).max(), np.abs(far).max()) / 0.9
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)

    def frames(signal: np.ndarray) -> np.ndarray:
        padded = np.pad(signal / peak, hop, mode="reflect")
        starts = range(0, len(padded) - size + 1, hop)
        return np.stack([np.fft.rfft(window * padded[start : start + size]) for start in starts])

    c, f = frames(near), frames(far)
    left = c - (c * f.conj()).sum(0) / ((np.abs(f) ** 2).sum(0) + 1e-12) * f
    total, weight = np.zeros(len(near) + 2 * size), np.zeros(len(near) + 2 * size)
    for number, frame in enumerate(np.fft.irfft(left)):
        total[number * hop :][:size] += window * frame
        weight[number * hop :][:size] += window**2
    return peak * (total / np.maximum(weight, 1e-12))[hop : hop + len(near)]


def subtracted(near: np.ndarray, far: np.ndarray, rate: int = RATE) -> np.ndarray:
    return near_minus_far(torch.from_numpy(np.float32(near)), torch.from_numpy(np.float32(far)), rate).numpy()


def decibels(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=float))))


@pytest.mark.parametrize("samples", [10 * RATE, 11 * RATE, 12 * RATE, 2048, 5000])
def test_it_is_the_formula(samples: int) -> None:
    rng = np.random.default_rng(samples)
    far = 0.3 * rng.normal(size=samples)
    near = lfilter([0.0, 0.5, 0.3, -0.2], [1.0, -0.4], far) + 0.05 * rng.normal(size=samples).cumsum() / 10
    found, expected = subtracted(near, far), by_hand(near, far)
    whole = samples // 512 * 512  # of what is after the middle of the last frame, the formula has a window's edge alone
    assert np.abs(found - expected)[: whole - 512].max() < 2e-6
    assert np.isfinite(found).all()
    assert np.abs(found[-100:]).max() < 2 * np.abs(found).max()
    if samples % 512 == 0:
        assert np.abs(found - expected).max() < 2e-6


@pytest.mark.parametrize("rate", [8000, RATE, 44100, 48000])
def test_the_noise_falls_by_many_decibels_and_the_machine_stays(rate: int) -> None:
    rng, time = np.random.default_rng(1), np.arange(5 * rate + 77) / rate
    machine = 0.1 * np.sin(2 * np.pi * 310 * time) * (1 + np.sin(2 * np.pi * 2.3 * time))
    noise = 0.2 * rng.normal(size=len(time))
    heard = lfilter([0.0] * (rate // 1000) + [0.8, 0.3, -0.1], [1.0, -0.5], noise)
    found = subtracted(lfilter([1.0, 0.2], [1.0], machine) + heard, noise, rate)
    left = found - lfilter([1.0, 0.2], [1.0], machine)
    assert decibels(left) < decibels(heard) - 20
    assert decibels(found) == pytest.approx(decibels(lfilter([1.0, 0.2], [1.0], machine)), abs=0.3)


def test_a_far_microphone_that_hears_another_sound_changes_nothing_much() -> None:
    rng = np.random.default_rng(2)
    near, far = 0.1 * rng.normal(size=(2, 10 * RATE))
    assert decibels(subtracted(near, far) - near) < decibels(near) - 20


def test_level_does_not_count_and_silence_is_silent() -> None:
    rng = np.random.default_rng(3)
    near, far = 0.1 * rng.normal(size=(2, 4096)) + 0.1 * rng.normal(size=4096)
    assert np.allclose(subtracted(1e-3 * near, 1e-3 * far), 1e-3 * subtracted(near, far), atol=1e-8)
    nothing = np.zeros(4096)
    assert np.allclose(subtracted(near, nothing), near, atol=1e-6)
    assert not subtracted(nothing, far).any()
    assert not subtracted(nothing, nothing).any()


def test_windows_last_as_long_at_every_rate() -> None:
    assert [window_samples(rate) for rate in (8000, RATE, 32000, 44100)] == [512, 1024, 2048, 2822]
    shortest = np.random.default_rng(4).normal(size=(2, window_samples(RATE)))
    assert subtracted(*shortest).shape == (1024,)
