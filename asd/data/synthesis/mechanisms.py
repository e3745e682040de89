"""What makes a machine sound: rotation, meshing teeth, blows on resonant bodies, friction and flow.

Everything is an array of `samples` float64 values at 16 kHz; `cycles` is the angle of a shaft in turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

SAMPLE_RATE = 16000
Signal = NDArray[np.float64]
Random = np.random.Generator


def wander(samples: int, rate_hz: float, rng: Random) -> Signal:
    """A slow random course of unit deviation, changing about `rate_hz` times a second."""
    knots = max(4, int(samples / SAMPLE_RATE * rate_hz) + 3)
    course = np.interp(np.linspace(0, knots - 1, samples), np.arange(knots), rng.standard_normal(knots))
    return np.asarray(course)


def turns(rate_hz: float, samples: int, rng: Random, jitter: float = 0.003) -> Signal:
    """Turns of a shaft at `rate_hz` whose speed wanders by `jitter`."""
    rate = rate_hz * (1 + jitter * wander(samples, 2.0, rng))
    return rng.random() + np.cumsum(rate) / SAMPLE_RATE


def harmonics(cycles: Signal, orders: Sequence[float], levels: Sequence[float], rng: Random) -> Signal:
    """Tones at multiples of a shaft's turns, each at its level and a random phase."""
    out = np.zeros_like(cycles)
    for order, level in zip(orders, levels, strict=True):
        out += level * np.sin(2 * np.pi * (order * cycles + rng.random()))
    return out


def mesh(cycles: Signal, teeth: int, depth: float, rng: Random) -> Signal:
    """Gear mesh: tones at multiples of the tooth rate with side bands at the shaft's turns."""
    ripple = 1 + depth * np.sin(2 * np.pi * (cycles + rng.random()))
    return ripple * harmonics(cycles, [teeth, 2 * teeth, 3 * teeth], [1.0, 0.5, 0.25], rng)


def passing(cycles: Signal, order: float, slip: float, rng: Random) -> Signal:
    """Unit impulses `order` times a turn, each late or early by up to `slip` of its spacing."""
    count = int(order * (cycles[-1] - cycles[0])) + 1
    angles = cycles[0] + (np.arange(count) + rng.random() + slip * rng.standard_normal(count)) / order
    places = np.searchsorted(cycles, angles)
    out = np.zeros_like(cycles)
    np.add.at(out, places[(places > 0) & (places < len(out))], 1.0)
    return out


def at_times(seconds: Sequence[float] | Signal, samples: int, levels: Sequence[float] | Signal | float = 1.0) -> Signal:
    """Impulses at given times."""
    places = (np.asarray(seconds) * SAMPLE_RATE).astype(int)
    inside = (places >= 0) & (places < samples)
    out = np.zeros(samples)
    np.add.at(out, places[inside], np.broadcast_to(levels, places.shape)[inside])
    return out


def ring(impulses: Signal, resonances: Sequence[tuple[float, float]], rng: Random) -> Signal:
    """A body struck by `impulses`: decaying tones at (hertz, seconds of decay)."""
    length = int(min(len(impulses), SAMPLE_RATE * 5 * max(decay for _, decay in resonances)))
    time = np.arange(length) / SAMPLE_RATE
    body = np.zeros(length)
    for hertz, decay in resonances:
        body += np.exp(-time / decay) * np.sin(2 * np.pi * (hertz * time + rng.random()))
    return np.asarray(fftconvolve(impulses, body)[: len(impulses)])


def band(samples: int, low_hz: float, high_hz: float, rng: Random, slope: float = 0.0) -> Signal:
    """Noise of unit deviation between two frequencies, falling by `slope` powers of frequency."""
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    soft = 1 / (1 + (low_hz / np.maximum(frequency, 1e-3)) ** 6) / (1 + (frequency / high_hz) ** 6)
    shape = soft * np.maximum(frequency, 20.0) ** -slope
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples)
    return unit(noise)


def unit(signal: Signal) -> Signal:
    """The signal at unit deviation, without mean."""
    centred = signal - signal.mean()
    return np.asarray(centred / (centred.std() + 1e-12))
