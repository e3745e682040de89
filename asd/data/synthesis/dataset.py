"""A data set of synthetic machines in the layout of DCASE Task 2: of 2025, or of 2026 with its far microphone."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asd.data.audio.wav import write_wav
from asd.data.synthesis.faults import faulty
from asd.data.synthesis.machines import CATALOGUE, Machine
from asd.data.synthesis.mechanisms import SAMPLE_RATE, Random, Signal, unit
from asd.data.synthesis.scene import NOISES, beside, microphone, noise, random_for, room
from asd.data.synthesis.years import YEARS, Year
from asd.errors import UserError
from asd.utils.files import written

MACHINES: tuple[str, ...] = tuple(CATALOGUE)
_LEVEL_DB = -28.0
_LEAK_DB = -15.0
"""Of the machine at the far microphone, against the near one."""


def synthesize(
    out: Path,
    machines: Sequence[str] | None = None,
    *,
    subset: str = "dev_data",
    seconds: float = 10.0,
    train_source: int = 190,
    train_target: int = 10,
    test: int = 50,
    supplemental: int | None = None,
    severity: float | None = None,
    seed: int = 1,
    year: int = 2025,
) -> Path:
    """Write ``out/<subset>/raw/<machine>/{train,test,supplemental}/*.wav`` and ``attributes_00.csv``; returns `out`.

    16 kHz, 16 bit. Every clip is drawn from a generator seeded by `seed` and its own name, so that the same
    arguments give the same bytes, and other numbers of clips leave the clips that both have as they are.

    Args:
        out: The data set's root.
        machines: Names of `MACHINES`; ``None``: all.
        subset: ``dev_data`` or ``eval_data``.
        seconds: Length of the clips, of 2026 of the shortest: machines have one, 1.1 or 1.2 times as much.
        train_source: Normal training clips of the source domain, for each machine.
        train_target: The same of the target domain.
        test: Test clips of each domain and condition.
        supplemental: Supplemental clips, in turn clean machine sound and background noise; ``None``: 40, of 2026 none.
        severity: How grave the faults are, in (0, 1]; ``None``: drawn for each clip from 0.25 to 1.
        seed: Other seeds give other clips of the same machines.
        year: 2025: one channel. 2026: a near and a far channel, and fewer machines with attributes.

    Raises:
        UserError: An unknown machine, a size that makes no sense, a machine's folder that is there already.
    """
    chosen = MACHINES if machines is None else tuple(dict.fromkeys(machines))
    unknown = [name for name in chosen if name not in CATALOGUE]
    if unknown or not chosen:
        raise UserError(f"no machine {', '.join(unknown) or 'given'} to synthesise; choose of {', '.join(MACHINES)}")
    if year not in YEARS:
        raise UserError(
            f"year is {year}; the layouts that are synthesised are those of {' and '.join(map(str, YEARS))}"
        )
    layout = YEARS[year]
    supplemental = layout.supplemental if supplemental is None else supplemental
    counts = {"train_source": train_source, "train_target": train_target, "test": test, "supplemental": supplemental}
    for name, count in counts.items():
        if count < 0 or (count == 0 and name == "train_source"):
            raise UserError(f"{name} is {count}; give a number of clips, for train_source at least 1")
    if not math.isfinite(seconds) or seconds < 0.1:
        raise UserError(f"seconds is {seconds:g}; clips must be at least 0.1 s long")
    if severity is not None and not 0 < severity <= 1:
        raise UserError(f"severity is {severity:g}; give a number in (0, 1], or none for graded faults")
    for name in chosen:
        home = out / subset / "raw" / name
        if home.is_dir() and any(home.iterdir()):
            raise UserError(f"{home} holds something already; choose another folder, or remove it first")
    try:
        with contextlib.ExitStack() as homes:  # put in place together, so that a stopped run can be run again
            for name in chosen:
                home = homes.enter_context(written(out / subset / "raw" / name))
                length = seconds * layout.lengths[MACHINES.index(name) % len(layout.lengths)]
                _write_machine(home, name, list(_plan(**counts)), round(length * SAMPLE_RATE), severity, seed, layout)
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror or error}; free space or choose another folder"
        ) from error
    return out


@dataclass(frozen=True)
class _Item:
    folder: str
    stem: str
    domain: str
    anomalous: bool = False
    kind: str = "machine"


def _plan(train_source: int, train_target: int, test: int, supplemental: int) -> Iterator[_Item]:
    for domain, count in (("source", train_source), ("target", train_target)):
        for number in range(count):
            yield _Item("train", f"section_00_{domain}_train_normal_{number:04d}", domain)
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            for number in range(test):
                stem = f"section_00_{domain}_test_{condition}_{number:04d}"
                yield _Item("test", stem, domain, anomalous=condition == "anomaly")
    for number in range(supplemental):
        kind = "noise" if number % 2 else "clean"
        word = "noise" if number % 2 else "machine"
        yield _Item("supplemental", f"section_00_{word}_source_{number:04d}", "source", kind=kind)


def _write_machine(
    home: Path, name: str, items: list[_Item], samples: int, severity: float | None, seed: int, layout: Year
) -> None:
    machine = CATALOGUE[name]
    rows: list[list[str]] = []
    for item in items:
        rng = random_for(seed, name, item.folder, item.stem)
        values = {key: str(rng.choice(given)) for key, given in _values(machine, item.domain).items()}
        signal = _clip(machine, name, item, values, samples, severity, rng, layout.stereo)
        shown = name not in layout.hidden and item.folder != "supplemental"
        tail = "_".join(f"{key}_{value}" for key, value in values.items()) if shown else "noAttribute"
        path = home / item.folder / f"{item.stem}_{tail}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, signal, SAMPLE_RATE)
        if item.folder != "supplemental":
            pairs = [part for pair in values.items() for part in pair] if shown else []
            rows.append([f"{name}/{item.folder}/{path.name}", *pairs])
    width = max(len(row) for row in rows) // 2
    with (home / "attributes_00.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *(column for k in range(1, width + 1) for column in (f"d{k}p", f"d{k}v"))])
        writer.writerows(rows)


def _values(machine: Machine, domain: str) -> dict[str, tuple[str, ...]]:
    return dict(machine.source if domain == "source" else machine.target)


def _clip(
    machine: Machine,
    name: str,
    item: _Item,
    values: dict[str, str],
    samples: int,
    severity: float | None,
    rng: Random,
    stereo: bool,
) -> Signal:
    """Samples ``(T,)``, or ``(T, 2)`` of the near and the far microphone."""
    source = item.domain == "source"
    # Of the target domain's kinds of noise, one is known from the source domain.
    kinds = machine.noises if source else (machine.noises[-1], *(k for k in NOISES if k not in machine.noises))
    bed = noise(str(rng.choice(kinds)), samples, rng)
    sound, cycles = machine.voice(values, samples, rng)
    if item.anomalous:
        grade = float(rng.uniform(0.25, 1.0)) if severity is None else severity
        sound = faulty(sound, str(rng.choice(machine.faults)), grade, cycles, rng)
    snr_db = machine.snr_db if source else machine.snr_db - 1
    loud, noisy = {"machine": (1.0, 10 ** (-snr_db / 20)), "clean": (1.0, 0.0), "noise": (0.0, 1.0)}[item.kind]
    near = loud * room(sound, name) + noisy * (beside(bed, f"{name} near") if stereo else bed)
    heard = microphone(near, f"{name} {values.get('mic', '1')}")
    # The level is random, so that it tells nothing.
    gain = 10 ** ((_LEVEL_DB + rng.uniform(-3, 3)) / 20)
    if not stereo:
        return np.clip(unit(heard) * gain, -1, 1 - 2**-15)
    leak = loud * 10 ** (_LEAK_DB / 20) * room(sound, f"{name} far")
    far = microphone(leak + noisy * beside(bed, f"{name} far"), f"{name} far")
    pair: Signal = np.stack([heard, far], axis=1) * gain / heard.std()
    return np.clip(pair, -1, 1 - 2**-15)
