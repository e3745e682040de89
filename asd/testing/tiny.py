"""A data set of a few short clips of noise, for tests that need files in the challenge's layout."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

_TRAIN = {
    "source": ["spd_1", "spd_1", "spd_2", "spd_2", "spd_2"],
    "target": ["spd_3", "spd_3"],
}


def write_dataset(
    root: Path, machines: Sequence[str] = ("fan", "valve"), seconds: float = 0.25, sample_rate: int = 16000
) -> Path:
    """Write section 00 of each machine: 7 normal training, 8 test and 4 supplemental clips, and the attributes file.

    The attributes of every second machine are hidden. Two training clips are half and twice as long as the rest.

    Args:
        root: Gets ``dev_data/raw/<machine>``.
        machines: Names of the machines.
        seconds: Length of the clips.
        sample_rate: Hz of the files, which are mono and of 16 bits.

    Returns:
        `root`.
    """
    samples = round(seconds * sample_rate)
    for number, machine in enumerate(machines):
        hidden = number % 2 == 1
        rows = ["file_name" if hidden else "file_name,d1p,d1v"]
        for split, name, attributes in _names(hidden):
            path = root / "dev_data" / "raw" / machine / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            factor = {"0003": 0.5, "0004": 2.0}.get(name.split("_")[5], 1.0) if split == "train" else 1.0
            _write(path, round(samples * factor), sample_rate, f"{machine}/{split}/{name}")
            columns = "" if hidden or not attributes else f",{attributes.replace('_', ',')}"
            rows.append(f"{machine}/{split}/{name}{columns}")
        (root / "dev_data" / "raw" / machine / "attributes_00.csv").write_text("\n".join(rows) + "\n")
    return root


def _names(hidden: bool) -> list[tuple[str, str, str]]:
    """Split, file name and attributes of every clip of a machine."""
    found = []
    for domain, values in _TRAIN.items():
        for index, attributes in enumerate(values):
            shown = "noAttribute" if hidden else attributes
            found.append(("train", f"section_00_{domain}_train_normal_{index:04d}_{shown}.wav", attributes))
        for condition in ("normal", "anomaly"):
            for index in range(2):
                shown = "noAttribute" if hidden else values[index]
                found.append(("test", f"section_00_{domain}_test_{condition}_{index:04d}_{shown}.wav", values[index]))
    for kind in ("machine", "noise"):
        for index in range(2):
            found.append(("supplemental", f"section_00_{kind}_source_{index:04d}_noAttribute.wav", ""))
    return found


def _write(path: Path, samples: int, sample_rate: int, seed: str) -> None:
    noise = np.random.default_rng(zlib.crc32(seed.encode())).normal(0, 0.1, samples)
    soundfile.write(path, noise.clip(-1, 1), sample_rate, subtype="PCM_16")
