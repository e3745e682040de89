"""Recordings of a machine and of noise, mixed into clips: ToyADMOS2 is published as such ingredients."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asd.data.audio.decoding import read
from asd.data.audio.wav import write_wav
from asd.data.clip import Condition, Domain, Split
from asd.data.layouts.walk import recordings_below
from asd.data.mixing import mix
from asd.errors import UserError
from asd.utils.files import clear_leftovers, written
from asd.utils.text import as_text

# CN031-carB1-speed1_mic3_00001: car or train, normal or anomaly and its pattern, model, speed, microphone, number.
_INGREDIENT = re.compile(r"[CT](?P<state>[NA])\d+-(?P<model>[^-_]+)-(?P<speed>[^-_]+)_(?P<mic>[^-_]+)_\d+")
_STATES = {"N": Condition.NORMAL, "A": Condition.ANOMALY}


@dataclass(frozen=True)
class Place:
    """Where mixed clips belong.

    Attributes:
        machine: Machine type.
        section: Two digits.
        split: ``train`` or ``test``.
        domain: Source or target.
        condition: Of recordings whose names do not say it.
    """

    machine: str
    section: str = "00"
    split: Split = Split.TRAIN
    domain: Domain = Domain.SOURCE
    condition: Condition = Condition.NORMAL


def mix_files(
    sounds: Path,
    noises: Path,
    out: Path,
    place: Place,
    snr: Sequence[float | None],
    sample_rate: int = 16000,
    seed: int = 0,
    on_clip: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Mix every recording of a folder with a stretch of a recording of noise; see `asd.data.mixing.mix` for the rule.

    Names of ToyADMOS2 give condition and attributes. Clips are numbered on from those that are there, so that several
    calls fill one data set.

    Args:
        sounds: Folder of recordings of the machine, searched with the folders in it.
        noises: Folder of recordings of noise, likewise.
        out: The data set.
        place: Where the clips belong.
        snr: Signal-to-noise ratios in dB to draw from; ``None`` among them: the machine alone.
        sample_rate: Hz of the clips.
        seed: Of noise and ratio.
        on_clip: Called with the number of clips written and of all.

    Returns:
        The files written, 16-bit.

    Raises:
        UserError: Nothing to mix, an anomaly for training, a file that cannot be used, or nothing can be written.
    """
    files, others = _recordings(sounds), _recordings(noises)
    if not snr:
        raise UserError("no signal-to-noise ratio given; give one in dB, or clean")
    conditions = {path: _condition(path, place) for path in files}
    wrong = [path for path, condition in conditions.items() if condition == Condition.ANOMALY]
    if wrong and place.split == Split.TRAIN:
        raise UserError(f"{wrong[0]} is an anomaly ({len(wrong)} are); training takes normal sound: --split test")
    folder = out / "dev_data" / "raw" / place.machine / place.split
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_leftovers(folder)
        next_number = {one: _last_number(folder, place, one) + 1 for one in Condition}
        for done, path in enumerate(files, 1):
            condition = conditions[path]
            number = next_number[condition]
            next_number[condition] += 1
            own = random.Random(f"{seed}/{as_text(str(path.relative_to(sounds)))}")
            samples = _mixed(path, own.choice(others), own.choice(list(snr)), sample_rate, own)
            name = f"{_stem(place, condition)}_{number:05d}_{_attributes(path)}".rstrip("_")
            made.append(_write(folder / f"{name}.wav", samples, sample_rate))
            if on_clip is not None:
                on_clip(done, len(files))
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    return made


def _recordings(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"no folder {folder}")
    return recordings_below(folder)


def _condition(path: Path, place: Place) -> Condition:
    found = _INGREDIENT.fullmatch(path.stem)
    return place.condition if found is None else _STATES[found["state"]]


def _attributes(path: Path) -> str:
    found = _INGREDIENT.fullmatch(path.stem)
    return "noAttribute" if found is None else f"{found['model']}_{found['speed']}_{found['mic']}"


def _stem(place: Place, condition: Condition) -> str:
    return f"section_{place.section}_{place.domain}_{place.split}_{condition}"


def _last_number(folder: Path, place: Place, condition: Condition) -> int:
    numbers = [
        path.stem.removeprefix(f"{_stem(place, condition)}_") for path in folder.glob(f"{_stem(place, condition)}_*")
    ]
    return max((int(one.split("_")[0]) for one in numbers if one.split("_")[0].isdecimal()), default=-1)


def _mixed(path: Path, noise: Path, snr: float | None, sample_rate: int, own: random.Random) -> NDArray[np.float32]:
    sound = read(path, sample_rate)
    if snr is None:
        return sound
    background = read(noise, sample_rate)
    start = own.randrange(max(1, len(background) - len(sound) + 1))
    stretch = np.resize(background[start:], len(sound))  # repeated where it is too short
    mixed: NDArray[np.float32] = mix(torch.from_numpy(sound), torch.from_numpy(stretch), snr).numpy()
    return mixed


def _write(path: Path, samples: NDArray[np.float32], sample_rate: int) -> Path:
    with written(path, clear=False) as place:
        write_wav(place, samples, sample_rate)
    return path
