"""What lies between machine and file: background noise, room and microphone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from scipy.signal import fftconvolve

from asd.data.synthesis.mechanisms import (
    SAMPLE_RATE,
    Random,
    Signal,
    at_times,
    band,
    harmonics,
    ring,
    turns,
    unit,
    wander,
)


def random_for(*names: object) -> Random:
    """A generator that depends on the names alone, so that no clip depends on another."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def room(signal: Signal, name: str) -> Signal:
    """The signal in the room of that name: direct sound, and reflections that decay within a third of a second."""
    rng = random_for("room", name)
    length = int(rng.uniform(0.15, 0.35) * SAMPLE_RATE)
    echoes = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    echoes *= rng.uniform(0.3, 0.6) / np.sqrt((echoes**2).sum())
    echoes[0] += 1
    return unit(np.asarray(fftconvolve(signal, echoes)[: len(signal)]))


def beside(noise: Signal, name: str) -> Signal:
    """Noise from elsewhere at the place of that name: a little later than at another, and with echoes of its own."""
    rng = random_for("path", name)
    length = int(0.02 * SAMPLE_RATE)
    echoes = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    echoes *= rng.uniform(0.2, 0.4) / np.sqrt((echoes**2).sum())
    echoes[0] += 1
    late = np.concatenate([np.zeros(rng.integers(8, 80)), echoes])
    return np.asarray(fftconvolve(noise, late)[: len(noise)])


def microphone(signal: Signal, name: str) -> Signal:
    """The signal through the microphone of that name: a fixed smooth response within 4 dB, and a low cut."""
    rng = random_for("microphone", name)
    frequency = np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)
    knots = np.log([30, 100, 250, 600, 1500, 3500, 8000])
    gain = np.interp(np.log(np.maximum(frequency, 1)), knots, rng.uniform(-4, 4, len(knots)))
    cut = rng.uniform(40, 120)
    response = 10 ** (gain / 20) * frequency / np.hypot(frequency, cut)
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * response, len(signal)))


def _hum(samples: int, rng: Random) -> Signal:
    mains = harmonics(turns(50, samples, rng, 0.0), [1, 2, 3, 4, 6], rng.uniform(0.3, 1.0, 5).tolist(), rng)
    return unit(mains) + 1.5 * band(samples, 60, 6000, rng, slope=0.7)


def _rumble(samples: int, rng: Random) -> Signal:
    return band(samples, 30, 7000, rng, slope=0.8)


def _babble(samples: int, rng: Random) -> Signal:
    parts = [
        np.exp(0.9 * wander(samples, 4.0, rng)) * band(samples, low, low * 1.8, rng)
        for low in (180, 350, 700, 1400, 2600)
    ]
    return sum(parts, np.zeros(samples)) + 0.5 * band(samples, 100, 5000, rng)


def _impacts(samples: int, rng: Random) -> Signal:
    count = max(1, int(1.5 * samples / SAMPLE_RATE))
    blows = at_times(rng.uniform(0, samples / SAMPLE_RATE, count), samples, rng.uniform(0.3, 1.0, count))
    clang = ring(blows, [(rng.uniform(300, 900), 0.08), (rng.uniform(1500, 3500), 0.03)], rng)
    return 0.7 * unit(clang) + band(samples, 80, 6000, rng, slope=0.4)


def _hiss(samples: int, rng: Random) -> Signal:
    return band(samples, 1500, 7500, rng) + 0.5 * band(samples, 60, 2000, rng, slope=0.5)


def _traffic(samples: int, rng: Random) -> Signal:
    return np.exp(0.5 * wander(samples, 0.5, rng)) * band(samples, 40, 3000, rng, slope=1.0)


NOISES: dict[str, Callable[[int, Random], Signal]] = {
    "babble": _babble,
    "hiss": _hiss,
    "hum": _hum,
    "impacts": _impacts,
    "rumble": _rumble,
    "traffic": _traffic,
}


def noise(kind: str, samples: int, rng: Random) -> Signal:
    """Background noise of a kind, of unit deviation."""
    return unit(NOISES[kind](samples, rng))
