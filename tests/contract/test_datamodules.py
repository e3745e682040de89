"""Every data module that is found holds to the contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import soundfile
from asd_plugins.dasheng import CED
from torch.utils.data import DataLoader

import asd.data.modules.synthetic
from asd.data.clip import Clip, ClipBatch
from asd.data.datamodule import ClipDataModule, Loader
from asd.data.layouts.dcase import scan
from asd.data.layouts.shards import write_shards
from asd.data.modules.mimii import MIMII
from asd.data.modules.recordings import Recordings
from asd.data.modules.shards import Shards
from asd.data.modules.stored import Stored
from asd.data.modules.synthetic import RECIPE, Synthetic
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.errors import UserError
from asd.plugins import known
from asd.testing import check_datamodule, write_dataset
from asd.training.callbacks import RunOutputs
from asd.training.module import AnomalyDetector

SMALL: dict[str, Any] = {"seconds": 0.25, "batch_size": 5}
SYNTHESIS: dict[str, Any] = {"machines": ["fan"], "train_source": 6, "train_target": 2, "test": 1, "supplemental": 2}


def own(folder: Path) -> ClipDataModule:
    """Six recordings of a machine, one of them long, and an anomaly."""
    for number in range(6):
        path = folder / "own/pump/normal" / f"day {number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(number, 0.9 if number == 0 else 0.25), 16000)
    (folder / "own/pump/test/anomaly").mkdir(parents=True)
    soundfile.write(folder / "own/pump/test/anomaly/broken.wav", noise(9, 0.6), 16000)
    return Recordings(folder / "own", hop=0.125, **SMALL)


def mimii(folder: Path) -> ClipDataModule:
    """Six normal and two abnormal clips of one model."""
    for number in range(8):
        state = "normal" if number < 6 else "abnormal"
        path = folder / "mimii/fan/id_02" / state / f"{number:08d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(number, 0.25), 16000)
    return MIMII(folder / "mimii", **SMALL)


def shards(folder: Path) -> ClipDataModule:
    """The small data set in archives of a few clips."""
    write_shards(scan(write_dataset(folder / "files")), folder / "shards", 50_000)
    return Shards(str(folder / "shards"), **SMALL)


def noise(seed: int, seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))


def stored(folder: Path) -> ClipDataModule:
    """The small data set as pooled vectors of an encoder."""
    data = ToyADMOS2(write_dataset(folder / "files"), **SMALL, clean_class="none", noise_class="none")
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[RunOutputs(folder=folder, also=["pooled"])])
    trainer.predict(AnomalyDetector(CED.tiny()), datamodule=data, return_predictions=False)
    return Stored(folder, **SMALL)


BUILDERS: dict[str, Callable[[Path], ClipDataModule]] = {
    "MIMII": mimii,
    "Recordings": own,
    "Shards": shards,
    "Stored": stored,
    "ToyADMOS2": lambda folder: ToyADMOS2(write_dataset(folder), **SMALL),
    "Synthetic": lambda folder: Synthetic(folder / "made", **SMALL, **SYNTHESIS),
}


@pytest.mark.parametrize("name", sorted(known(ClipDataModule)))  # type: ignore[type-abstract]
def test_data_modules_hold_to_the_contract(name: str, tmp_path: Path) -> None:
    assert name in BUILDERS, f"say in BUILDERS how to build {name} on little data"
    check_datamodule(BUILDERS[name](tmp_path))


class _Shuffled(ToyADMOS2):
    __doc__ = ToyADMOS2.__doc__

    def val_dataloader(self) -> list[Loader]:
        return [
            DataLoader(one.dataset, batch_size=5, shuffle=True, collate_fn=one.collate_fn)
            for one in super().val_dataloader()
        ]


class _Leaking(ToyADMOS2):
    __doc__ = ToyADMOS2.__doc__

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.train_clips = [*self.train_clips, self.query_clips[0]]


class _Repeating(ToyADMOS2):
    __doc__ = ToyADMOS2.__doc__

    def clips(self) -> list[Clip]:
        return [*super().clips(), super().clips()[0]]


class _Plain(ToyADMOS2):
    __doc__ = ToyADMOS2.__doc__

    def train_dataloader(self) -> Loader:
        loader = super().train_dataloader()
        loader.collate_fn = lambda batch: ClipBatch(batch.waveform.double(), batch.label, batch.index)
        return loader


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (_Shuffled, "not all there in order"),
        (_Leaking, "a test clip is among the training clips"),
        (_Repeating, "listed twice"),
        (_Plain, "float64"),
    ],
)
def test_what_breaks_the_contract_is_found(broken: type[ToyADMOS2], reason: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_datamodule(broken(write_dataset(tmp_path), **SMALL))


def made(folder: Path, **options: object) -> Synthetic:
    data = Synthetic(folder / "made", **{**SMALL, **SYNTHESIS, **options})
    data.prepare_data()
    return data


def test_synthetic_data_are_made_once_and_again_for_other_arguments(tmp_path: Path) -> None:
    root = made(tmp_path).root
    marker = root / "dev_data" / "raw" / "fan" / "kept"
    marker.touch()
    made(tmp_path, batch_size=3)
    assert marker.exists(), "made again although the data are the same"
    made(tmp_path, seed=2)
    assert not marker.exists()
    assert json.loads((root / RECIPE).read_text())["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "nothing is left beside the data"


def test_half_made_data_are_never_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(out: Path, *_: object, **__: object) -> None:
        write_dataset(out, ["fan"])
        raise KeyboardInterrupt

    monkeypatch.setattr(asd.data.modules.synthetic, "synthesize", stopped)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_users_own_folder_is_not_replaced(tmp_path: Path) -> None:
    write_dataset(tmp_path / "made", ["fan"])
    with pytest.raises(UserError, match="not synthesised"):
        made(tmp_path)
    assert (tmp_path / "made" / "dev_data").is_dir()
    shutil.rmtree(tmp_path / "made")
    (tmp_path / "made").write_text("a file where the folder should be\n")
    with pytest.raises(UserError, match="not synthesised"):
        made(tmp_path)
