"""A data set of synthetic machines in the layout of DCASE 2025 Task 2."""

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
from asd.data.synthesis.scene import NOISES, microphone, noise, random_for, room
from asd.errors import UserError
from asd.utils.files import written

MACHINES: tuple[str, ...] = tuple(CATALOGUE)
_LEVEL_DB = -28.0


def synthesize(
    out: Path,
    machines: Sequence[str] | None = None,
    *,
    subset: str = "dev_data",
    seconds: float = 10.0,
    train_source: int = 190,
    train_target: int = 10,
    test: int = 50,
    supplemental: int = 40,
    severity: float | None = None,
    seed: int = 1,
) -> Path:
    """Write ``out/<subset>/raw/<machine>/{train,test,supplemental}/*.wav`` and ``attributes_00.csv``; returns `out`.

    16 kHz mono, 16 bit. Every clip is drawn from a generator seeded by `seed` and its own name, so that the same
    arguments give the same bytes, and other numbers of clips leave the clips that both have as they are.

    Args:
        out: The data set's root.
        machines: Names of `MACHINES`; ``None``: all.
        subset: ``dev_data`` or ``eval_data``.
        seconds: Length of the clips.
        train_source: Normal training clips of the source domain, for each machine.
        train_target: The same of the target domain.
        test: Test clips of each domain and condition.
        supplemental: Supplemental clips, in turn clean machine sound and background noise.
        severity: How grave the faults are, in (0, 1]; ``None``: drawn for each clip from 0.25 to 1.
        seed: Other seeds give other clips of the same machines.

    Raises:
        UserError: An unknown machine, a size that makes no sense, a machine's folder that is there already.
    """
    chosen = MACHINES if machines is None else tuple(dict.fromkeys(machines))
    unknown = [name for name in chosen if name not in CATALOGUE]
    if unknown or not chosen:
        raise UserError(f"no machine {', '.join(unknown) or 'given'} to synthesise; choose of {', '.join(MACHINES)}")
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
                _write_machine(home, name, list(_plan(**counts)), round(seconds * SAMPLE_RATE), severity, seed)
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


def _write_machine(home: Path, name: str, items: list[_Item], samples: int, severity: float | None, seed: int) -> None:
    machine = CATALOGUE[name]
    rows: list[list[str]] = []
    for item in items:
        rng = random_for(seed, name, item.folder, item.stem)
        values = {key: str(rng.choice(given)) for key, given in _values(machine, item.domain).items()}
        signal = _clip(machine, name, item, values, samples, severity, rng)
        shown = not machine.hidden and item.folder != "supplemental"
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
) -> Signal:
    source = item.domain == "source"
    # Of the target domain's kinds of noise, one is known from the source domain.
    kinds = machine.noises if source else (machine.noises[-1], *(k for k in NOISES if k not in machine.noises))
    bed = noise(str(rng.choice(kinds)), samples, rng)
    sound, cycles = machine.voice(values, samples, rng)
    if item.anomalous:
        grade = float(rng.uniform(0.25, 1.0)) if severity is None else severity
        sound = faulty(sound, str(rng.choice(machine.faults)), grade, cycles, rng)
    snr_db = machine.snr_db if source else machine.snr_db - 1
    scene = {
        "machine": room(sound, name) + bed * 10 ** (-snr_db / 20),
        "clean": room(sound, name),
        "noise": bed,
    }[item.kind]
    heard = unit(microphone(scene, f"{name} {values.get('mic', '1')}"))
    # The level is random, so that it tells nothing.
    loud = heard * 10 ** ((_LEVEL_DB + rng.uniform(-3, 3)) / 20)
    return np.clip(loud, -1, 1 - 2**-15)
