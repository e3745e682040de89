"""What training, validation and test are served, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from asd.data.clip import Clip, ClipBatch, Condition, Domain, Kind, Split
from asd.data.datamodule import ClipDataModule
from asd.errors import UserError

SECONDS = 0.25
pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|LeafSpec).*")


class _Listed(ClipDataModule):
    """Serves the clips it is given."""

    def __init__(self, clips: list[Clip], **options: Any) -> None:
        super().__init__(**{"seconds": SECONDS, "batch_size": 4, "cache_gb": 0.01, **options})
        self.given = clips

    def clips(self) -> list[Clip]:
        return self.given


class _Recorder(pl.LightningModule):
    """Remembers what it is shown in each epoch."""

    def __init__(self, fitted: bool = False) -> None:
        super().__init__()
        self.fitted = fitted
        self.layer = nn.Linear(1, 1)
        self.seen: dict[int, list[tuple[int, float]]] = {}
        self.evaluated: dict[int, list[int]] = {}

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        rows = zip(batch.index.tolist(), batch.waveform.double().sum(1).tolist(), strict=True)
        self.seen.setdefault(self.current_epoch, []).extend(rows)
        loss: Tensor = self.layer(batch.waveform.mean().view(1, 1)).sum()
        return loss

    def test_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluated.setdefault(dataloader_idx, []).extend(batch.index.tolist())

    validation_step = test_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(folder: Path, epochs: int = 1, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0, default_root_dir=folder,
        **options,
    )  # fmt: skip


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Two machines: 9 normal training clips each, some longer, 2 test clips, a clean and a noise clip."""
    random = np.random.default_rng(0)
    found = []

    def add(name: str, seconds: float = SECONDS, **facts: Any) -> None:
        path = tmp_path / "files" / f"{facts['machine']}_{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, random.normal(0, 0.1, round(16000 * seconds)), 16000)
        found.append(Clip(path, **facts))

    for machine in ("fan", "valve"):
        for number in range(9):
            add(
                f"train_{number}", SECONDS * (1 + number % 3), machine=machine, domain=Domain.SOURCE,
                condition=Condition.NORMAL, attributes=f"spd_{number % 2}",
            )  # fmt: skip
        for number in range(2):
            add(f"test_{number}", machine=machine, split=Split.TEST, attributes=f"unseen_{number}")
        add("clean", machine=machine, split=Split.SUPPLEMENTAL, kind=Kind.CLEAN)
        add("noise", machine=machine, split=Split.SUPPLEMENTAL, kind=Kind.NOISE)
    return found


def rows(loader: Any) -> list[int]:
    return [row for batch in loader for row in batch.index.tolist()]


def of(clips: list[Clip], word: str) -> Clip:
    return next(clip for clip in clips if word in clip.path.name)


def test_who_is_served_what(clips: list[Clip]) -> None:
    anomaly = Clip(of(clips, "fan_train_0").path.with_name("anomaly.wav"), "fan", condition=Condition.ANOMALY)
    data = _Listed([*clips, anomaly])
    data.setup("fit")
    assert {clip.split for clip in data.query_clips} == {Split.TEST}
    assert {clip.kind for clip in data.reference_clips} == {Kind.MACHINE}
    assert len(data.reference_clips) == 18
    assert len(data.train_clips) == 22
    assert len(data.classes) == 8
    assert not any("unseen" in name for name in data.classes.names)
    assert sorted(rows(data.train_dataloader())) == list(range(22))
    assert [rows(loader) for loader in data.val_dataloader()] == [list(range(18)), list(range(4))]
    reference, query = data.val_dataloader()
    labels = [label for batch in reference for label in batch.label.tolist()]
    assert labels == [data.classes.label(clip) for clip in data.reference_clips]
    assert {label for batch in query for label in batch.label.tolist()} == {-1}


@pytest.mark.parametrize(
    ("clean", "noise", "classes", "count"), [("none", False, 4, 18), ("shared", "per_machine", 7, 22)]
)
def test_supplemental_classes_by_choice(clips: list[Clip], clean: str, noise: str, classes: int, count: int) -> None:
    data = _Listed(clips, clean_class=clean, noise_class=noise)
    data.setup("fit")
    assert len(data.classes) == classes
    assert len(data.train_clips) == count


def test_training_sees_crops_and_scoring_whole_clips(clips: list[Clip]) -> None:
    data = _Listed(clips, crop_seconds=SECONDS / 2)
    data.setup("fit")
    assert next(iter(data.train_dataloader())).waveform.shape[1] == round(SECONDS / 2 * 16000)
    assert {next(iter(loader)).waveform.shape[1] for loader in data.val_dataloader()} == {round(SECONDS * 16000)}
    longer = _Listed(clips, crop_seconds=99.0)
    longer.setup("fit")
    assert next(iter(longer.train_dataloader())).waveform.shape[1] == round(SECONDS * 16000)


def test_statistics_are_dealt_to_the_processes(clips: list[Clip]) -> None:
    data = _Listed(clips)
    data.setup("fit")
    parts = [rows(data.statistics_dataloader(rank, 3)) for rank in range(3)]
    assert parts[1] == list(range(1, 22, 3))
    assert sorted(row for part in parts for row in part) == list(range(22))
    assert rows(data.statistics_dataloader()) == list(range(22))


@pytest.mark.parametrize(("batch_size", "seen"), [(7, 21), (21, 21), (20, 22), (1, 22), (64, 22)])
def test_only_a_last_batch_of_one_clip_is_left_out(clips: list[Clip], batch_size: int, seen: int) -> None:
    data = _Listed(clips, batch_size=batch_size)
    data.setup("fit")
    assert len(rows(data.train_dataloader())) == seen


def test_the_order_follows_the_seed(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    def order(seed: str) -> list[int]:
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        data = _Listed(clips)
        data.setup("fit")
        return rows(data.train_dataloader())

    assert order("1") == order("1")
    assert order("1") != order("2")


def test_test_clips_of_several_windows_are_told(clips: list[Clip], recwarn: pytest.WarningsRecorder) -> None:
    """Those that are a single window of the detector are scored alike by `asd test` and `asd score`."""
    path = next(clip.path for clip in clips if clip.split == Split.TEST)
    for factor, said in ((1.4, ""), (1.5, "1 of 4 test clips are half as long again")):
        soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, round(factor * SECONDS * 16000)), 16000)
        data = _Listed(clips)
        data.setup("test")
        data.setup("test")
        found = [str(one.message) for one in recwarn if "test clips" in str(one.message)]
        assert len(found) == bool(said)
        assert all(said in one for one in found)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_differ_and_a_resumed_run_sees_the_same(clips: list[Clip], tmp_path: Path, workers: int) -> None:
    whole = _Recorder()
    trainer(tmp_path, 3).fit(whole, datamodule=_Listed(clips, workers=workers))
    assert sorted(row for row, _ in whole.seen[0]) == list(range(22))
    assert [row for row, _ in whole.seen[0]] != [row for row, _ in whole.seen[1]]
    assert sorted(whole.seen[0]) != sorted(whole.seen[1]), "random crops must differ between epochs"

    first, then = _Recorder(), _Recorder()
    start = trainer(tmp_path, 1)
    start.fit(first, datamodule=_Listed(clips))
    start.save_checkpoint(tmp_path / "one.ckpt")
    trainer(tmp_path, 3).fit(
        then, datamodule=_Listed(clips, workers=workers), ckpt_path=str(tmp_path / "one.ckpt"), weights_only=True
    )
    assert first.seen[0] == whole.seen[0]
    assert then.seen == {1: whole.seen[1], 2: whole.seen[2]}


def test_the_cache_changes_nothing(clips: list[Clip], tmp_path: Path) -> None:
    cached, read = _Recorder(), _Recorder()
    trainer(tmp_path, 2).fit(cached, datamodule=_Listed(clips))
    trainer(tmp_path, 2).fit(read, datamodule=_Listed(clips, cache_gb=0.0))
    assert cached.seen == read.seen
    assert cached.evaluated == read.evaluated


@pytest.mark.parametrize("workers", [0, 1])
def test_cached_clips_are_not_read_again(clips: list[Clip], workers: int) -> None:
    data = _Listed(clips, workers=workers)
    data.setup("fit")
    for loader in (data.train_dataloader(), *data.val_dataloader()):
        rows(loader)
    for clip in clips:
        clip.path.unlink()
    assert len(rows(data.train_dataloader())) == 22
    assert [len(rows(loader)) for loader in data.val_dataloader()] == [18, 4]


def test_a_fitted_detector_needs_no_training_clips(clips: list[Clip], tmp_path: Path) -> None:
    query_alone = [clip for clip in clips if clip.split == Split.TEST]
    detector = _Recorder(fitted=True)
    trainer(tmp_path).test(detector, datamodule=_Listed(query_alone), verbose=False)
    assert detector.evaluated == {0: [0, 1, 2, 3]}
    data = _Listed(query_alone)
    data.setup("predict")
    assert [rows(loader) for loader in data.predict_dataloader()] == [[0, 1, 2, 3]]
    unfitted = _Recorder()
    trainer(tmp_path).test(unfitted, datamodule=_Listed(clips), verbose=False)
    assert unfitted.evaluated == {0: list(range(18)), 1: list(range(4))}
    with pytest.raises(UserError, match="no normal training clips for fan_section_00, valve_section_00"):
        trainer(tmp_path).test(_Recorder(), datamodule=_Listed(query_alone), verbose=False)


def test_training_without_test_clips(clips: list[Clip], tmp_path: Path) -> None:
    detector = _Recorder()
    alone = [clip for clip in clips if clip.split != Split.TEST]
    with pytest.warns(UserWarning, match="zero"):
        trainer(tmp_path).fit(detector, datamodule=_Listed(alone))
    assert len(detector.seen[0]) == 22
    assert detector.evaluated == {0: list(range(18))}


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_a_machine_without_normal_clips_is_named(clips: list[Clip], stage: str) -> None:
    data = _Listed([clip for clip in clips if clip.machine == "fan" or clip.split == Split.TEST])
    with pytest.raises(UserError, match="no normal training clips for valve_section_00;"):
        data.setup(stage)
    with pytest.raises(UserError, match="no normal training clips for any machine"):
        _Listed([]).setup(stage)


def spoil(clip: Clip, how: str) -> None:
    if how == "text":
        clip.path.write_text("this is no sound\n")
    else:
        samples = np.full(4000, np.nan if how == "nan" else 0.0, dtype=np.float32)
        soundfile.write(clip.path, samples, 16000, subtype="FLOAT")


def test_files_that_cannot_be_read_stop_at_once(clips: list[Clip]) -> None:
    spoil(of(clips, "fan_train_3"), "text")
    with pytest.raises(UserError, match=r"fan_train_3\.wav: cannot be read as audio.*on_bad_file=skip"):
        _Listed(clips).setup("fit")
    spoil(of(clips, "valve_noise"), "text")
    with pytest.raises(UserError, match=r"^2 audio files cannot be used, the first is .*fan_train_3\.wav"):
        _Listed(clips).setup("fit")
    _Listed(clips, noise_class="none", on_bad_file="skip").setup("test")


@pytest.mark.parametrize("how", ["nan", "silent"])
@pytest.mark.parametrize("workers", [0, 1])
def test_unusable_samples_stop_the_run_in_one_line(clips: list[Clip], tmp_path: Path, how: str, workers: int) -> None:
    bad = of(clips, "fan_train_3")
    spoil(bad, how)
    with pytest.raises(UserError) as error:
        trainer(tmp_path).fit(_Recorder(), datamodule=_Listed(clips, workers=workers))
    assert str(error.value).startswith(f"{bad.path}: ")
    assert "\n" not in str(error.value)


def test_bad_training_clips_are_listed_and_left_out_on_demand(clips: list[Clip]) -> None:
    bad = {"fan_train_3": "text", "valve_train_0": "nan", "fan_noise": "silent"}
    for word, how in bad.items():
        spoil(of(clips, word), how)
    data = _Listed(clips, on_bad_file="skip")
    with pytest.warns(UserWarning, match="left out 3 of 22 training clips") as caught:
        data.setup("fit")
    message = str(caught[0].message)
    assert all(f"{word}.wav" in message for word in bad)
    assert len(rows(data.train_dataloader())) == 19
    assert "fan" not in " ".join(name for name in data.classes.names if "noise" in name)


@pytest.mark.parametrize("on_bad_file", ["stop", "skip"])
def test_a_bad_test_clip_is_never_left_out(clips: list[Clip], on_bad_file: str) -> None:
    spoil(of(clips, "fan_test_1"), "text")
    with pytest.raises(UserError, match=r"fan_test_1\.wav"):
        _Listed(clips, on_bad_file=on_bad_file).setup("test")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seconds", 0.0), ("batch_size", 0), ("workers", -1), ("pad", "mirror"), ("channel", -1), ("cache_gb", -1.0),
        ("on_bad_file", "ignore"), ("crop_seconds", 0.0), ("channels", -1),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"data\.{option} must be .*, got {value!r}"):
        _Listed([], **{option: value})
