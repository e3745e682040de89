"""The machines: how each sounds when healthy, what changes its sound, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from asd.data.synthesis.mechanisms import (
    SAMPLE_RATE,
    Random,
    Signal,
    at_times,
    band,
    harmonics,
    mesh,
    passing,
    ring,
    turns,
    unit,
    wander,
)

Values = Mapping[str, tuple[str, ...]]
# Attributes of a clip to its sound of unit deviation and the angle that faults follow.
Voice = Callable[[Mapping[str, str], int, Random], tuple[Signal, Signal]]


@dataclass(frozen=True)
class Machine:
    """A machine type.

    Attributes:
        voice: Its healthy sound.
        source: Values of each attribute in the source domain.
        target: The same in the target domain; at least one attribute has other values there.
        faults: How it fails.
        noises: Kinds of background noise in the source domain; the target domain has the others and the last.
        snr_db: Machine against noise in the source domain; 1 dB less in the target domain.
    """

    voice: Voice
    source: Values
    target: Values
    faults: tuple[str, ...]
    noises: tuple[str, ...]
    snr_db: float


def _toy_car(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    cycles = turns(16 * int(values["spd"][:-1]) / 28, samples, rng, 0.008)
    tint = 1 + 0.12 * (ord(values["car"][0]) - ord("A"))
    motor = harmonics(cycles, [3, 6, 12], [1.0, 0.7, 0.5], rng) + 0.8 * mesh(cycles, 13, 0.4, rng)
    wheels = ring(passing(cycles, 0.7, 0.15, rng), [(800 * tint, 0.008), (2100 * tint, 0.004)], rng)
    return unit(unit(motor) + 0.7 * unit(wheels) + 0.5 * band(samples, 2000 * tint, 5000, rng)), cycles


def _toy_train(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    cycles = turns(1.5 * int(values["spd"]), samples, rng, 0.006)
    tint = 1 + 0.1 * (ord(values["car"][0]) - ord("A"))
    # Two axles of a bogie pass a rail joint shortly after each other.
    joints = passing(cycles, 0.5, 0.01, rng)
    joints += np.roll(joints, int(0.06 * SAMPLE_RATE)) * 0.8
    clatter = ring(joints, [(620 * tint, 0.012), (1700 * tint, 0.006)], rng)
    motor = harmonics(cycles, [6, 12, 18, 36], [1.0, 0.6, 0.5, 0.3], rng)
    return unit(unit(motor) + unit(clatter) + 0.5 * band(samples, 600, 2500 * tint, rng)), cycles


def _bearing(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    cycles = turns(2.0 * int(values["vel"]), samples, rng, 0.002)
    place = 1 + 0.15 * (ord(values["loc"]) - ord("A"))
    shaft = harmonics(cycles, [1, 2, 3, 5], [0.5, 1.0, 0.6, 0.4], rng)
    rolling = (1 + 0.3 * np.sin(2 * np.pi * 0.4 * cycles)) * band(samples, 900 * place, 3000 * place, rng)
    return unit(unit(shaft) + 0.8 * rolling), cycles


def _fan(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    cycles = turns(int(values["spd"]), samples, rng, 0.004)
    blades = harmonics(cycles, [7, 14, 21, 28], [1.0, 0.6, 0.35, 0.2], rng)
    flow = (1 + 0.15 * np.sin(2 * np.pi * 7 * cycles)) * band(samples, 100, 3500, rng, slope=0.6)
    return unit(unit(blades) + 1.2 * unit(flow) + 0.3 * unit(harmonics(cycles, [1, 2], [1, 0.5], rng))), cycles


def _gearbox(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    load = int(values["load"]) / 100
    cycles = turns(22 - 3 * load, samples, rng, 0.003 + 0.003 * load)
    teeth = mesh(cycles, 19, 0.2 + 0.5 * load, rng) + 0.6 * mesh(cycles * 0.41, 31, 0.3, rng)
    return unit(unit(teeth) + 0.5 * unit(harmonics(cycles, [1, 2, 3], [1, 0.5, 0.3], rng)) + 0.5 * band(
        samples, 500, 4000, rng, slope=0.5
    )), cycles  # fmt: skip


def _slider(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    strokes = turns(int(values["vel"]) / 1000, samples, rng, 0.004)
    speed = np.abs(np.sin(2 * np.pi * strokes))
    slide = speed**1.5 * band(samples, 1200, 4800, rng)
    whine = speed * np.sin(2 * np.pi * np.cumsum(300 + 500 * speed) / SAMPLE_RATE)
    ends = ring(passing(strokes, 2, 0.005, rng), [(420, 0.02), (1250, 0.01)], rng)
    return unit(unit(slide) + 0.7 * unit(whine) + 0.7 * unit(ends)), strokes * 4


def _valve(values: Mapping[str, str], samples: int, rng: Random) -> tuple[Signal, Signal]:
    period = {"00": 0.50, "02": 0.38, "04": 0.62, "05": 0.45}[values["pat"]]
    starts = np.arange(rng.uniform(0, period), samples / SAMPLE_RATE, period)
    starts = starts + 0.004 * rng.standard_normal(len(starts))
    clicks = at_times(starts, samples) + at_times(starts + 0.4 * period, samples, 0.7)
    solenoid = ring(clicks, [(2400, 0.004), (1100, 0.010), (4700, 0.002)], rng)
    puff = ring(at_times(starts, samples), [(30.0, 0.05)], rng)
    exhaust = np.abs(puff) * band(samples, 1500, 7000, rng)
    hum = harmonics(turns(100, samples, rng, 0.0), [1, 2, 3], [1, 0.4, 0.3], rng) * (
        0.8 + 0.1 * wander(samples, 1, rng)
    )
    return unit(unit(solenoid) + 0.8 * unit(exhaust) + 0.2 * unit(hum)), turns(1 / period, samples, rng, 0.0)


CATALOGUE: dict[str, Machine] = {
    "ToyCar": Machine(
        _toy_car, {"car": ("B1", "C1", "D1"), "spd": ("31V", "40V"), "mic": ("1",)},
        {"car": ("A1", "E1"), "spd": ("28V", "37V"), "mic": ("2",)},
        ("worn_tooth", "loose_part", "friction"), ("rumble", "babble"), 2.0,
    ),
    "ToyTrain": Machine(
        _toy_train, {"car": ("B1", "C1"), "spd": ("6", "8"), "mic": ("1",)},
        {"car": ("A1", "D1"), "spd": ("7", "9"), "mic": ("2",)},
        ("loose_part", "friction", "imbalance"), ("hum", "traffic"), 2.0,
    ),
    "bearing": Machine(
        _bearing, {"vel": ("12", "14", "18"), "loc": ("A", "B")}, {"vel": ("10", "16"), "loc": ("C",)},
        ("outer_race", "imbalance"), ("rumble", "impacts"), 0.0,
    ),
    "fan": Machine(
        _fan, {"spd": ("20", "24", "28"), "mic": ("1",)}, {"spd": ("18", "26"), "mic": ("2",)},
        ("imbalance", "loose_part", "friction"), ("hum", "babble"), 3.0,
    ),
    "gearbox": Machine(
        _gearbox, {"load": ("0", "50", "100"), "mic": ("1",)}, {"load": ("25", "75"), "mic": ("2",)},
        ("worn_tooth", "outer_race", "imbalance"), ("traffic", "hiss"), 0.0,
    ),
    "slider": Machine(
        _slider, {"vel": ("900", "1100")}, {"vel": ("400", "1300")},
        ("friction", "loose_part"), ("hum", "rumble"), 3.0,
    ),
    "valve": Machine(
        _valve, {"pat": ("00", "04"), "mic": ("1",)}, {"pat": ("02", "05"), "mic": ("2",)},
        ("leak", "friction", "loose_part"), ("babble", "impacts"), 2.0,
    ),
}  # fmt: skip
