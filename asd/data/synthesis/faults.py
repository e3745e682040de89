"""Faults of real machines: each gives a sound that is added to, or modulates, the healthy machine's."""

from __future__ import annotations

import numpy as np

from asd.data.synthesis.mechanisms import SAMPLE_RATE, Random, Signal, at_times, band, harmonics, passing, ring, unit

# Balls times half of one minus the ratio of ball to pitch diameter: outer-race passes a turn of a common bearing.
OUTER_RACE_ORDER = 3.57
# How loud the gravest form of a fault is against the healthy machine.
LEVEL = {"imbalance": 0.7, "worn_tooth": 0.5, "outer_race": 0.5, "leak": 0.35, "friction": 0.4, "loose_part": 0.5}


def faulty(healthy: Signal, fault: str, severity: float, cycles: Signal, rng: Random) -> Signal:
    """The machine with a fault.

    Args:
        healthy: Sound of the healthy machine, ``(T,)``, of unit deviation.
        fault: A key of `LEVEL`.
        severity: From 0, none, to 1, the gravest.
        cycles: Turns of the machine's shaft or strokes of its motion.
        rng: Where, and how loud, the fault's details are.
    """
    strength = severity * LEVEL[fault]
    if fault == "imbalance":
        # The shaft's forces grow once a turn, and shake everything else in the same rhythm.
        shake = 1 + 0.8 * strength * np.sin(2 * np.pi * (cycles + rng.random()))
        return healthy * shake + strength * unit(harmonics(cycles, [1, 2, 3, 4], [1.0, 0.6, 0.4, 0.3], rng))
    return healthy + strength * unit(_sound(fault, cycles, rng))


def _sound(fault: str, cycles: Signal, rng: Random) -> Signal:
    samples = len(cycles)
    if fault == "worn_tooth":
        return ring(passing(cycles, 1, 0.01, rng), [(1350 * rng.uniform(0.9, 1.1), 0.006), (2900, 0.003)], rng)
    if fault == "outer_race":
        return ring(passing(cycles, OUTER_RACE_ORDER, 0.02, rng), [(3100 * rng.uniform(0.9, 1.1), 0.002)], rng)
    if fault == "leak":
        low = rng.uniform(2500, 4000)
        return band(samples, low, low + 2500, rng)
    if fault == "friction":
        low = rng.uniform(700, 1400)
        rhythm = np.maximum(0, np.sin(2 * np.pi * (cycles * 0.5 + rng.random()))) ** 3
        return rhythm * band(samples, low, low * 2.2, rng)
    # A loose part rattles: bursts of a few blows at random times.
    bursts = rng.uniform(0, samples / SAMPLE_RATE, max(1, int(2.5 * samples / SAMPLE_RATE)))
    blows = (bursts[:, None] + np.cumsum(rng.exponential(0.03, (len(bursts), 6)), axis=1)).ravel()
    return ring(at_times(blows, samples, rng.uniform(0.3, 1.0, len(blows))), [(1900, 0.006), (4300, 0.003)], rng)
